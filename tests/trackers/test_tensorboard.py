"""TensorBoard's files, read back by its own reader."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ravine.trackers.follower import log_run

from .conftest import LOSSES


def read_back(run: Path) -> EventAccumulator:
    kept = {"scalars": 0, "histograms": 0, "images": 0, "tensors": 0}
    found = EventAccumulator(str(run / "tensorboard"), size_guidance=kept)
    found.Reload()
    return found


def values(found: EventAccumulator, name: str) -> list[tuple[int, float]]:
    return [(one.step, pytest.approx(one.value)) for one in found.Scalars(name)]


@pytest.fixture
def logged(run: Path) -> EventAccumulator:
    assert log_run(run, "tensorboard") == "tensorboard"
    return read_back(run)


def test_each_row_is_there_once_at_its_step(logged: EventAccumulator) -> None:
    steps = [10, 20, 30]
    assert values(logged, "train/loss") == list(zip(steps, LOSSES, strict=True))
    assert values(logged, "validation/accuracy_low") == [(step, 0.4) for step in steps]


def test_values_that_are_not_known_are_left_out(logged: EventAccumulator) -> None:
    names = logged.Tags()["scalars"]
    assert "train/gradient_norm" not in names
    assert "layers/0/gradient_std" not in names


def test_layers_are_scalars_and_histograms(logged: EventAccumulator) -> None:
    assert values(logged, "layers/0/std") == [(10, 2.0), (20, 2.0), (30, 2.0)]
    last = logged.Histograms("weights/log10 update_ratio")[-1].histogram_value
    assert (last.num, last.min, last.max) == (2, pytest.approx(-3), pytest.approx(-1))


def test_pictures_findings_and_settings_are_there(logged: EventAccumulator) -> None:
    (picture,) = logged.Images("mistakes/00")
    assert (picture.width, picture.height) == (4, 4)
    (finding,) = logged.Tensors("findings/text_summary")
    assert finding.step == 20
    assert b"critical plateau: it stays; check it" in finding.tensor_proto.string_val[0]
    data = logged.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"wrn-10-1" in data
    assert values(logged, "result/accuracy") == [(30, 0.5)]


def test_a_run_that_is_logged_again_has_each_row_once(run: Path) -> None:
    for _ in range(2):
        log_run(run, "tensorboard")

    assert [step for step, _ in values(read_back(run), "train/loss")] == [10, 20, 30]
