import time
from pathlib import Path

import pytest
import torch

from ravine.core.events import EpochDone, StepDone
from ravine.runs.rows import read_rows
from ravine.training.recorder import Recorder


def _step(step: int, loss: float) -> StepDone:
    return StepDone(
        step=step,
        total_steps=10,
        lr=0.1,
        loss=torch.tensor(loss),
        correct=torch.tensor(3),
        gradient_norm=torch.tensor(2.0),
        seen=4,
        skipped=torch.tensor(1),
        elapsed=step * 1.0,
    )


def _epoch(step: int) -> EpochDone:
    return EpochDone(
        epoch=step / 4,
        step=step,
        total_steps=10,
        train_loss=1.0,
        train_accuracy=0.5,
        accuracy=None,
        interval=None,
        loss=None,
        images_per_second=9.0,
        elapsed=1.0,
    )


def test_steps_are_written_as_means_without_the_time_of_an_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [7.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    path = tmp_path / "history.jsonl"
    record = Recorder(path=path, steps_per_epoch=4, every=100.0, _written=now[0])
    for step, loss in ((1, 1.0), (2, float("nan")), (3, 3.0)):
        now[0] += 0.5
        record(_step(step, loss))
    now[0] += 30.0  # an evaluation
    record(_epoch(3))
    steps, epoch = read_rows(tmp_path / "history.jsonl")
    assert steps["loss"] == 2.0
    assert steps["accuracy"] == 9 / 12
    assert (steps["step"], steps["epoch"], steps["skipped"]) == (3, 0.75, 1)
    assert steps["images_per_second"] == 12 / 1.5
    assert (epoch["kind"], epoch["accuracy"]) == ("epoch", None)


def test_a_line_is_written_as_often_as_asked(tmp_path: Path) -> None:
    record = Recorder(path=tmp_path / "history.jsonl", steps_per_epoch=4, every=0.0)
    for step in (1, 2):
        record(_step(step, 1.0))
    assert [row["step"] for row in read_rows(tmp_path / "history.jsonl")] == [1, 2]
    assert read_rows(tmp_path / "history.jsonl")[0]["lr"] == pytest.approx(0.1)
