"""A run on the hub: by the hub's own client, against a stand-in server of its HTTP calls."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard, snapshot_download
from tests.exports.hub_server import TOKEN, running_hub

from ravine.core.allowed_code import NO_CODE
from ravine.workflows.run import Run
from ravine.workflows.weights_source import open_weights

pytestmark = pytest.mark.slow  # many seconds


def push(url: str, home: Path, *arguments: object, token: str = TOKEN) -> tuple[int, str, str]:
    """Runs `ravine push ARGUMENTS` with its own cache and no other login."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    own = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "ravine", "push", *map(str, arguments)],
        env={**kept, **own, **({"HF_TOKEN": token} if token else {}), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def finished(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a copy of the run with an export in it."""
    folder = tmp_path_factory.mktemp("finished") / "stripes"
    shutil.copytree(run.path, folder)
    Run.load(folder).export(folder / "exports" / "onnx")
    return folder


def test_a_pushed_run_is_read_back_whole_by_the_hubs_reader(
    finished: Path, run: Run, pictures: Path, tmp_path: Path
) -> None:
    with running_hub() as hub:
        code, out, err = push(
            hub.url,
            tmp_path / "home",
            finished,
            "me/stripes",
            "--license",
            "apache-2.0",
            "--private",
        )
        assert code == 0, err
        folder = Path(
            snapshot_download(
                "me/stripes", endpoint=hub.url, cache_dir=tmp_path / "cache", token=TOKEN
            )
        )

    assert hub.private
    assert out.splitlines()[-1] == f"{hub.url}/me/stripes"
    assert sorted(hub.files) == [
        "README.md", "model.safetensors", "onnx/README.md", "onnx/model.onnx", "onnx/predict.py",
        "onnx/proof.json",
    ]  # fmt: skip
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "ravine"
    assert "onnx" in (card.data.tags or [])
    again = Run.load(folder / "model.safetensors").predict(pictures, precision="float32")
    before = run.predict(pictures, precision="float32")
    np.testing.assert_array_equal(again.probabilities, before.probabilities)
    start = open_weights(str(folder), code=NO_CODE)  # what --weights FOLDER takes over
    assert (start.model, start.classes) == (run.settings["model"], tuple(run.trained.classes))


def test_nothing_that_names_the_users_files_is_uploaded(
    finished: Path, pictures: Path, tmp_path: Path
) -> None:
    with running_hub() as hub:
        code, _, _ = push(hub.url, tmp_path / "home", finished / "exports" / "onnx", "stripes-onnx")

    assert code == 0
    assert hub.repository == "me/stripes-onnx"
    assert [name for name, text in hub.files.items() if str(pictures.parent).encode() in text] == []


@pytest.mark.parametrize(
    ("name", "token", "message"),
    [
        ("me/stripes", "", "nobody is logged in to the hub; log in first: hf auth login"),
        ("me/stripes", "hf_of_another", r"the hub refuses me/stripes (401)"),
        ("me/../stripes", TOKEN, "the hub has no names like 'me/../stripes'"),
    ],
)
@pytest.mark.slow
def test_what_the_hub_does_not_take_is_one_line(
    name: str, token: str, message: str, finished: Path, tmp_path: Path
) -> None:
    with running_hub() as hub:
        code, _, err = push(hub.url, tmp_path / "home", finished, name, token=token)

    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert hub.files == {}


@pytest.mark.slow
def test_a_hub_that_is_not_there_is_one_line(finished: Path, tmp_path: Path) -> None:
    code, _, err = push("http://127.0.0.1:9", tmp_path / "home", finished, "me/stripes")

    assert code == 2
    assert "the hub cannot be reached at http://127.0.0.1:9" in err
