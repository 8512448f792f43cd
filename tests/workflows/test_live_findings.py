"""Findings while a run is trained: reported as they arise, once, and taken back when they pass."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from ravine.core.events import EpochDone, Event, Notice, RolledBack
from ravine.findings.finding import Findings
from ravine.runs.folder import RunFolder
from ravine.runs.recipe_file import write_recipe
from ravine.runs.rows import append_row, read_rows
from ravine.workflows.live_findings import LiveFindings
from ravine.workflows.run_findings import keep_findings

CHANCE = math.log(10)
TOTAL = 400


class Watched:
    """A run of made-up losses that is judged after each row."""

    def __init__(self, path: Path) -> None:
        self.folder = RunFolder(path)
        self.notices: list[Notice] = []
        self.step, self.now = 0, 0.0
        write_recipe(self.folder.recipe, {"norm": "batch"}, None)
        self.live = LiveFindings(
            folder=self.folder, classes=10, emit=self.hear, clock=lambda: self.now
        )

    def hear(self, event: Event) -> None:
        assert isinstance(event, Notice)
        self.notices.append(event)

    def train(self, loss: Callable[[int], float], steps: int) -> None:
        for _ in range(steps // 10):
            self.step += 10
            row = {"kind": "step", "step": self.step, "epoch": 1.0, "loss": loss(self.step)}
            append_row(self.folder.history, {**row, "lr": 0.1, "skipped": 0})
            self.now += 10.0
            self.live(self._event())

    def _event(self) -> EpochDone:
        return EpochDone(
            epoch=1.0, step=self.step, total_steps=TOTAL, train_loss=1.0, train_accuracy=0.5,
            accuracy=None, interval=None, loss=None, images_per_second=1.0, elapsed=1.0,
        )  # fmt: skip

    @property
    def texts(self) -> list[str]:
        return [one.text for one in self.notices]

    @property
    def codes(self) -> list[str]:
        return [row["code"] for row in read_rows(self.folder.findings)]


@pytest.fixture
def run(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_run_that_learns_has_none(run: Watched) -> None:
    run.train(lambda step: CHANCE * math.exp(-step / 100), 300)

    assert run.notices == []
    assert not run.folder.findings.exists()


def test_a_loss_that_stays_is_a_warning_at_first_and_then_critical(run: Watched) -> None:
    run.train(lambda step: CHANCE + 0.01 * (-1) ** (step // 10), 300)

    assert [text.partition(" since ")[0] for text in run.texts] == [
        "step 60: warning plateau",
        "step 100: critical plateau",
    ]
    assert run.notices[0].details["finding"]["found"] == 60
    assert run.codes == ["plateau"]


def test_a_finding_that_passes_is_taken_back(run: Watched) -> None:
    run.train(lambda step: CHANCE + 0.01 * (-1) ** (step // 10), 120)
    run.train(lambda step: CHANCE * math.exp(-(step - 120) / 20), 100)

    assert run.texts[-1].endswith("plateau is over")
    assert run.codes == []


def test_a_loss_that_explodes_is_critical_while_the_run_goes_on(run: Watched) -> None:
    run.train(lambda step: CHANCE * math.exp(-step / 200), 100)
    run.train(lambda step: 50.0 + step, 60)

    found = run.notices[-1].details["finding"]
    assert (found["severity"], found["code"]) == ("critical", "diverged")
    assert 100 < found["found"] <= 160


def test_a_rollback_takes_back_what_was_found_after_it(run: Watched) -> None:
    run.train(lambda step: CHANCE, 120)
    assert run.codes == ["plateau"]
    run.live(RolledBack(step=120, to=50, scale=0.5, reason="the loss leapt"))

    assert run.codes == []


def test_the_findings_at_the_end_take_their_place_and_keep_when_they_were_found(
    run: Watched,
) -> None:
    run.train(lambda step: CHANCE, 120)
    row = run.notices[-1].details["finding"]
    ended = Findings((next(run.live._found(120, TOTAL)),))
    keep_findings(run.folder, ended)

    (kept,) = read_rows(run.folder.findings)
    assert (kept["by"], kept["found"]) == ("diagnose", row["found"])
    keep_findings(run.folder, Findings(()))
    assert read_rows(run.folder.findings) == []


def test_judging_keeps_to_its_share_of_the_time(run: Watched) -> None:
    times = iter(range(0, 10**6, 2))  # each look at the clock takes two seconds
    run.live.clock = lambda: float(next(times))
    run.train(lambda step: CHANCE, 2000)

    judged = [one for one in run.notices if "finding" in one.details]
    assert judged == []  # of 200 rows it has judged once: 2 s of 400
