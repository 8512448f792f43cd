"""Trackers follow a run's folder; one that fails or hangs never stops the run."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ravine.core.errors import RunError, SettingError
from ravine.core.events import Event, Notice, TrainingStarted
from ravine.runs.rows import append_row
from ravine.trackers import follower as follower_module
from ravine.trackers.follower import following, log_run
from ravine.workflows.tracked import tracked


class Log:
    """An object with `log(dict, step)`."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        self.rows.append((step, values))

    def losses(self) -> list[float]:
        return [values["train/loss"] for _, values in self.rows if "train/loss" in values]


class Broken:
    def log(self, values: dict[str, float], step: int) -> None:
        raise OSError(28, "No space left on device")


class Hanging:
    def __init__(self) -> None:
        self.free = threading.Event()

    def log(self, values: dict[str, float], step: int) -> None:
        self.free.wait(60)


def started(run: Path) -> TrainingStarted:
    return TrainingStarted(
        step=0, total_steps=1, steps_per_epoch=1, batch=1, model="m", run=str(run)
    )


def wait_until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not what() and time.monotonic() < end:
        time.sleep(0.01)
    assert what()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "_EVERY", 0.02)
    monkeypatch.setattr(follower_module, "_SHARE", 1.0)
    monkeypatch.setattr(follower_module, "_LEAVE", 120.0)


def test_rows_arrive_while_the_run_goes_on_and_the_rest_at_its_end(run: Path) -> None:
    log = Log()
    with tracked(log, []) as observer:
        observer(started(run))
        wait_until(lambda: len(log.losses()) == 3)
        append_row(run / "history.jsonl", {"kind": "step", "step": 40, "epoch": 4.0, "loss": 0.5})
        wait_until(lambda: len(log.losses()) == 4)
        append_row(run / "history.jsonl", {"kind": "step", "step": 50, "epoch": 5.0, "loss": 0.25})

    assert log.losses() == [2.3, 1.1, 0.7, 0.5, 0.25]
    assert log.rows[0][1]["elapsed"] == 2.0


def test_a_tracker_that_fails_is_one_line_and_the_others_go_on(run: Path) -> None:
    heard: list[Event] = []
    log = Log()
    with tracked([Broken(), log], [heard.append]) as observer:
        observer(started(run))
        wait_until(lambda: len(log.losses()) == 3)
        append_row(run / "history.jsonl", {"kind": "step", "step": 40, "epoch": 4.0, "loss": 0.5})

    assert log.losses() == [2.3, 1.1, 0.7, 0.5]
    (notice,) = heard
    assert isinstance(notice, Notice)
    assert notice.text.startswith("Broken failed, and the run goes on without it (OSError: ")


def test_a_tracker_that_hangs_is_left_at_the_end(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "_LEAVE", 0.2)
    lines: list[str] = []
    hanging = Hanging()
    with following([hanging], lines.append) as live:
        live.begin(run)
    hanging.free.set()

    assert lines == ["a tracker has not answered for 0 s, and is left"]


def test_each_run_of_a_cross_validation_is_followed(
    run: Path, tmp_path: Path, make_run: Callable[[Path], Path]
) -> None:
    other = make_run(tmp_path / "runs" / "two")
    log = Log()
    with tracked([log], []) as observer:
        observer(started(run))
        observer(started(other))

    assert log.losses() == [2.3, 1.1, 0.7] * 2


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ("tensorbord", "unknown tracker 'tensorbord'; did you mean 'tensorboard'"),
        (3, r"log_to: int has no log\(values, step\)"),
    ],
)
def test_a_mistake_is_found_before_the_training(named: Any, line: str) -> None:
    with pytest.raises(SettingError, match=line), tracked([named], []):
        pass


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ravine.trackers.tracker.find_spec", lambda _: None)
    with (
        pytest.raises(
            SettingError, match=r"log_to wandb needs wandb: pip install 'ravine\[wandb\]'"
        ),
        tracked("wandb", []),
    ):
        pass


def test_after_the_fact_a_tracker_that_fails_is_a_mistake(run: Path) -> None:
    with pytest.raises(RunError, match="Broken failed"):
        log_run(run, Broken())
