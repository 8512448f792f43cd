"""A run is monitored while it trains: same weights, a file of snapshots, figures in the report."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ravine
from ravine.checks.check_table import EXPLAINS
from ravine.core.events import Event, Notice, RolledBack, StepDone
from ravine.findings.finding import merge
from ravine.reports.layer_figures import scales, update_ratios
from ravine.reports.page import page
from ravine.runs.folder import RunFolder
from ravine.runs.layers_file import LayerRecords, read_layers
from ravine.runs.rows import append_row, read_rows, write_json
from ravine.workflows.diagnose import diagnose_run
from ravine.workflows.run_findings import find_in_run

SETTINGS: dict[str, Any] = {
    "model": "resnet-cifar-8",
    "lr": 0.5,
    "batch": 32,
    "epochs": 0.2,
    "image_size": 8,
    "threads": 1,
    "monitor": 0.5,
    "convolution": "guess",  # measured plans may differ
    "augment": "flip,crop",  # asking whether mirrored images are training images takes seconds
}


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module", autouse=True)
def steady() -> Iterator[None]:
    """Lets the monitor count processor time: a busy machine gives it as many snapshots."""
    clock = SimpleNamespace(perf_counter=time.process_time)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ravine.monitor.overhead.time", clock)
        yield


class Crash(Exception):
    """What a test stops a run with."""


@pytest.fixture(scope="module")
def watched(steady: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("watched") / "run"
    ravine.train("@fashion", out=out, **SETTINGS)
    return out


def test_the_weights_are_those_of_a_run_without_a_monitor(watched: Path, tmp_path: Path) -> None:
    ravine.train("@fashion", out=tmp_path / "run", **(SETTINGS | {"monitor": 0.0}))
    assert not (tmp_path / "run" / "layers.jsonl").exists()
    files = [out / "model.safetensors" for out in (watched, tmp_path / "run")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_every_layer_is_seen_from_the_first_step_on(watched: Path) -> None:
    snapshots = read_layers(watched / "layers.jsonl").snapshots
    assert snapshots[0].step == 1
    assert len(snapshots) >= 3
    kinds = [layer.kind for layer in snapshots[-1].layers.values()]
    assert kinds.count("Conv2d") == 7
    rows = snapshots[-1].parameters.items()
    ratios = [row.update_ratio or 0.0 for name, row in rows if "weight" in name]
    assert all(0 < ratio < 1 for ratio in ratios)


def test_snapshots_of_repeated_steps_are_taken_out(watched: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def crash(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 40:
            raise Crash

    with pytest.raises(Crash):
        ravine.train("@fashion", out=out, observers=[crash], checkpoint_every=0.05, **SETTINGS)
    append_row(out / "layers.jsonl", {"kind": "not-finite", "step": 40, "layer": "0"})
    ravine.resume(out)
    layers = read_layers(out / "layers.jsonl")
    steps = [one.step for one in layers.snapshots]
    assert steps == sorted(set(steps))
    assert layers.not_finite is None
    assert (out / "model.safetensors").read_bytes() == (watched / "model.safetensors").read_bytes()


def test_a_rollback_takes_the_snapshots_back_too(tmp_path: Path) -> None:
    out, seen = tmp_path / "run", list[Event]()
    settings = SETTINGS | {
        "norm": "none", "lr": 5.0, "batch": 16, "epochs": 0.3, "on_divergence": "rollback",
        "precision": "float32",
    }  # fmt: skip
    ravine.train("@fashion", out=out, observers=[seen.append], **settings)
    assert any(isinstance(event, RolledBack) for event in seen)
    snapshots = read_layers(out / "layers.jsonl").snapshots
    steps = [one.step for one in snapshots]
    assert steps == sorted(set(steps))
    assert steps[-1] <= ravine.Run.load(out).history[-1]["step"]
    assert max(one.lr or 0.0 for one in snapshots) <= 2.5


def test_the_findings_of_a_run_are_kept_and_reported_when_it_ends(tmp_path: Path) -> None:
    out, told = tmp_path / "run", list[str]()

    def hear(event: Event) -> None:
        if isinstance(event, Notice) and event.warning:
            told.append(event.text)

    settings = SETTINGS | {"norm": "none", "lr": 20.0, "precision": "float32", "epochs": 0.4}
    ravine.train("@fashion", out=out, observers=[hear], **settings)
    rows = read_rows(out / "findings.jsonl")
    worse = [row["code"] for row in rows if row["severity"] != "note"]
    assert worse
    for code in worse:
        assert any(code in text or "not finite" in text for text in told)


def test_the_first_value_that_is_not_finite_is_kept_with_its_layer(tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = SETTINGS | {"norm": "none", "lr": 1e30, "precision": "float32", "epochs": 0.05}
    ravine.train("@fashion", out=out, **settings)
    found = read_layers(out / "layers.jsonl").not_finite
    assert found is not None
    assert found.step == 2
    assert found.direction == "forward"


@pytest.mark.usefixtures("figures")
def test_the_report_shows_layers_by_steps(watched: Path) -> None:
    text = page(watched)
    assert "size of activations, layers by steps" in text
    assert "size of updates over size of weights, against steps" in text


@pytest.mark.usefixtures("figures")
def test_a_diagnosis_adds_the_variances_of_the_start(watched: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(watched, out)
    diagnose_run(out)
    (network,) = json.loads((out / "variance.json").read_text())["networks"]
    assert len(network["layers"]) == 8
    assert "variance of activations and gradients" in (out / "report.html").read_text()


@pytest.mark.usefixtures("figures")
def test_torn_and_hostile_rows_leave_the_page_whole(watched: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(watched, out)
    whole = read_rows(out / "layers.jsonl")[-1] | {"kind": "look", "step": 10**6}
    bad = "<script>$x_{$"
    whole["layers"] = {bad: {"kind": "Conv2d", "var": 1.0, "gradient_var": "nan"}}
    whole["parameters"] = {bad: {"update_ratio": 0.1}, "b": {"update_ratio": 0.2}}
    for row in (whole, {"kind": "look", "step": "1"}, {"kind": "look", "step": 9, "layers": [1]}):
        append_row(out / "layers.jsonl", row)
    (out / "variance.json").write_text('{"networks": [{"name": 1}]}')
    text = page(out)
    assert "<script>$x" not in text
    assert "layers by steps" in text


@pytest.mark.parametrize("count", [3, 700])
def test_figures_hold_values_that_are_not_finite(count: int) -> None:
    looks = [
        {
            "step": 1 + step,
            "layers": {
                "a": {"kind": "Linear", "var": 2.0**-step, "gradient_var": float("inf")},
                "b": {"kind": "Linear", "var": 0.0},
            },
            "parameters": {"a.weight": {"update_ratio": float("nan")}},
        }
        for step in range(count)
    ]
    for drawn in (scales(looks), update_ratios(looks)):
        assert re.match(r'(<div class="panels"><div>)?<svg ', drawn)
        assert len(drawn) < 300_000


@pytest.mark.parametrize(
    ("recipe", "codes"),
    [
        ("label_smoothing = 0.0", ("underfitting",)),
        ("label_smoothing = 0.2", ()),
        ("mixup = 8.0", ()),
        ("cutmix = 8.0", ()),
    ],
)
def test_a_run_at_the_floor_of_its_own_targets_does_not_underfit(
    tmp_path: Path, recipe: str, codes: tuple[str, ...]
) -> None:
    """Of 10 classes, as the audit counts them: 1.0 is 0.43 ln K."""
    (tmp_path / "recipe.toml").write_text(recipe + "\n", encoding="utf-8")
    classes = [{"name": str(n), "counts": {"train": 9}} for n in range(10)]
    write_json(tmp_path / "audit.json", {"classes": classes})
    for step in range(1, 41):
        steps = {"kind": "step", "step": step, "epoch": step / 10, "loss": 1.0}
        append_row(tmp_path / "history.jsonl", steps)
        if step % 10 == 0:
            row = {
                "kind": "epoch",
                "step": step,
                "epoch": step / 10,
                "train_loss": 1.0,
                "loss": 1.0,
            }
            append_row(tmp_path / "history.jsonl", row)

    found = find_in_run(RunFolder(tmp_path), classes=None, layers=LayerRecords())
    assert merge(found, EXPLAINS).codes == codes
