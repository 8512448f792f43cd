"""Folders as on the hub: what config.json says is taken over, what is odd counts as unknown."""

import json
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from tests.exports.hub_server import running_hub

from ravine.cli.error_line import error_lines
from ravine.core.errors import PickleRefusedError, RunError, SettingError
from ravine.models.timm_library import TimmNetwork, refuse_other_size
from ravine.weights import hub_weights
from ravine.weights.hub_weights import fetch_folder, input_of, read_hub_folder


def _folder(path: Path, config: object, card: str = "") -> Path:
    save_file({"fc.weight": torch.ones(2, 3), "conv1.weight": torch.ones(3, 3, 1, 1)}, path / "m")
    (path / "m").rename(path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    (path / "README.md").write_text(card)
    return path


def test_input_classes_and_licence_are_those_of_the_files(tmp_path: Path) -> None:
    record = {"input_size": [3, 160, 160], "crop_pct": 0.9, "interpolation": "bicubic"}
    record |= {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    config = {"architecture": "resnet18", "label_names": ["cat", "dog"], "pretrained_cfg": record}
    folder = _folder(tmp_path, config, "---\nlicense: apache-2.0\n---\n# A card\n")

    found, architecture = read_hub_folder(folder, source="here")

    assert architecture == "resnet18"
    assert found.classes == ("cat", "dog")
    assert found.licence == "apache-2.0"
    assert found.input.settings() == {
        "image_size": 160,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.2, 0.2, 0.2),
        "interpolation": "bicubic",
        "crop_share": 0.9,
        "fit": "crop",
    }


@pytest.mark.parametrize(
    "record",
    [
        {"input_size": [3, 160, 200]},
        {"input_size": "224", "crop_pct": 7, "interpolation": "nearest"},
        {"mean": [0.5, "x", 1]},
        {"mean": [0.5], "std": None},
    ],
)
def test_what_is_odd_counts_as_unknown(record: dict[str, object]) -> None:
    assert input_of(record).settings() == {}


def test_a_folder_with_a_pickle_alone_is_refused_with_the_lines_that_convert_it(
    tmp_path: Path,
) -> None:
    torch.save(
        {"model": {"fc.weight": torch.ones(2, 3)}, "epoch": 3}, tmp_path / "pytorch_model.bin"
    )

    with pytest.raises(PickleRefusedError, match=r"pytorch_model\.bin is a pickle") as refused:
        read_hub_folder(tmp_path, source="here")

    exec("\n".join(refused.value.lines))  # as the user would paste them
    found, _ = read_hub_folder(tmp_path, source="here")
    assert list(found.tensors) == ["fc.weight"]


def test_a_config_that_is_no_json_is_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path, {})
    (folder / "config.json").write_text("{")

    with pytest.raises(RunError, match=r"config\.json is no JSON"):
        read_hub_folder(folder, source="here")


def test_a_network_of_fixed_size_takes_no_other() -> None:
    network = TimmNetwork(
        name="vit", architecture="vit", image_size=224, fixed=True, least=0, pretrained={}
    )

    refuse_other_size(network, 224)
    with pytest.raises(SettingError, match="images of 224×224 only, not of 64: --image-size 224"):
        refuse_other_size(network, 64)


@pytest.fixture
def hub_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Returns what sets the hub's address, with a cache of the test's own."""

    def set_address(url: str, *, offline: bool = False) -> None:
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)

    return set_address


def test_weights_are_fetched_once_and_then_taken_from_the_cache(
    hub_at: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "release").mkdir()
    folder = _folder(tmp_path / "release", {"architecture": "resnet18", "label_names": ["a", "b"]})
    with running_hub() as hub:
        hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        hub_at(hub.url)
        fetched = fetch_folder("timm/resnet18.x", wanted="timm/resnet18")

    hub_at("http://127.0.0.1:9", offline=True)
    assert fetch_folder("timm/resnet18.x", wanted="timm/resnet18") == fetched
    found, architecture = read_hub_folder(fetched, source="timm/resnet18.x")
    assert (found.classes, architecture) == (("a", "b"), "resnet18")


@pytest.mark.parametrize(
    ("offline", "said"),
    [(False, r"http://127\.0\.0\.1:9 does not answer"), (True, "HF_HUB_OFFLINE is set")],
)
def test_a_hub_that_does_not_answer_is_asked_once_and_the_command_named(
    offline: bool, said: str, hub_at: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    hub_at("http://127.0.0.1:9", offline=offline)

    with pytest.raises(RunError, match=said) as refused:
        fetch_folder("timm/resnet18.x", wanted="timm/resnet18")

    command = "hf download timm/resnet18.x model.safetensors config.json"
    assert str(refused.value).endswith(command)
    assert "Retrying" not in caplog.text


class Answer(BaseHTTPRequestHandler):
    """A hub that answers with a status, or with the first bytes of a file."""

    status = 500

    def log_message(self, *_: object) -> None:
        """Prints nothing."""

    def do_HEAD(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", "1000" if self.status == 200 else "0")
        self.send_header("ETag", '"x"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.status == 200:
            self.wfile.write(bytes(10))


@pytest.mark.parametrize(
    ("status", "said"),
    [(500, "answers 500"), (404, "answers 404"), (429, "answers 429"), (200, "does not answer")],
)
def test_a_hub_that_answers_badly_or_breaks_off_is_named_in_one_line(
    status: int,
    said: str,
    hub_at: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Answer, "status", status)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between the tries of huggingface_hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        hub_at(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(RunError) as refused:
            fetch_folder("timm/resnet18.x", wanted="timm/resnet18.x")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    message, command = error_lines(str(refused.value))
    assert f"the hub http://127.0.0.1:{server.server_port} {said}" in message
    assert command == "hf download timm/resnet18.x model.safetensors config.json"
    assert "Trying to resume" not in caplog.text


def test_a_hub_that_accepts_and_never_answers_is_given_up(
    hub_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_weights, "_SECONDS_TO_ANSWER", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hub_at(f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(RunError, match=r"does not answer \(.*; name a folder that holds"):
            fetch_folder("timm/resnet18.x", wanted="timm/resnet18.x")


def test_a_repository_of_pickles_alone_is_refused(hub_at: Callable[..., None]) -> None:
    with running_hub() as hub:
        hub_at(hub.url)
        with pytest.raises(RunError, match=r"timm/resnet18\.x holds no model\.safetensors"):
            fetch_folder("timm/resnet18.x", wanted="timm/resnet18")
