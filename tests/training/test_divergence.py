"""Runs that diverge are taken back, at the same steps whether they were stopped or not."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ravine
from ravine.core.errors import RavineError
from ravine.core.events import Event, RolledBack, StepDone
from ravine.optim import Momentum
from ravine.runs.rows import read_rows
from ravine.schedules.scheduler import Absolute
from ravine.training.divergence import MOST, WINDOW, Rollback
from ravine.training.divergence_state import DivergenceState
from ravine.training.save_points import SavePoints
from ravine.training.state import TrainingState, start_state

# Without a norm this rate makes the loss explode within the first hundred steps; half of it learns.
SETTINGS: dict[str, Any] = {
    "model": "resnet-cifar-8",
    "norm": "none",
    "lr": 5.0,
    "batch": 16,
    "epochs": 0.3,
    "image_size": 8,
    "threads": 1,
    "precision": "float32",
    "on_divergence": "rollback",
    "convolution": "guess",  # measured plans may differ
    "augment": "flip,crop",  # asking whether mirrored images are training images takes seconds
}


pytestmark = [pytest.mark.usefixtures("own_cache"), pytest.mark.slow]
SLOW = pytest.mark.slow


class Crash(Exception):
    """What a test stops a run with."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RolledBack]]:
    out = tmp_path_factory.mktemp("rollback") / "run"
    seen: list[Event] = []
    ravine.train("@fashion", out=out, observers=[seen.append], **SETTINGS)
    return out, [event for event in seen if isinstance(event, RolledBack)]


def test_a_run_that_explodes_goes_back_with_half_of_the_rate_and_learns(
    whole: tuple[Path, list[RolledBack]],
) -> None:
    out, returns = whole
    assert [(one.step, one.to, one.scale) for one in returns] == [(WINDOW, 0, 0.5)]
    assert ravine.Run.load(out).result["accuracy"] > 0.3
    rows = read_rows(out / "history.jsonl")
    (row,) = (row for row in rows if row["kind"] == "rollback")
    assert (row["step"], row["from"], row["scale"]) == (0, WINDOW, 0.5)
    steps = [row["step"] for row in rows]
    assert steps == sorted(steps)
    assert max(row["lr"] for row in rows if row["kind"] == "step") <= SETTINGS["lr"] / 2
    assert "rolled-back" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    "crash_at", [pytest.param(60, marks=SLOW), pytest.param(99, marks=SLOW), 131]
)
def test_a_crash_before_or_after_a_return_changes_nothing(
    whole: tuple[Path, list[RolledBack]], tmp_path: Path, crash_at: int
) -> None:
    out, returns = tmp_path / "run", 0

    def crash(event: Event) -> None:
        nonlocal returns
        returns += isinstance(event, RolledBack)
        wanted = 1 if crash_at > WINDOW else 0
        if isinstance(event, StepDone) and event.step == crash_at and returns == wanted:
            raise Crash

    settings = SETTINGS | {"checkpoint_every": 0.05}
    with pytest.raises(Crash):
        ravine.train("@fashion", out=out, observers=[crash], **settings)
    ravine.resume(out)
    first, _ = whole
    assert (out / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()


def test_a_healthy_run_is_bitwise_the_same_with_its_losses_watched(tmp_path: Path) -> None:
    settings = SETTINGS | {"lr": 2.5, "epochs": 0.2}
    for name in ("stop", "rollback"):
        ravine.train("@fashion", out=tmp_path / name, **(settings | {"on_divergence": name}))
    files = [tmp_path / name / "model.safetensors" for name in ("stop", "rollback")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_it_gives_up_after_so_many_returns(tmp_path: Path) -> None:
    settings = SETTINGS | {"lr": 1e30, "batch": 8}
    with pytest.raises(RavineError, match=f"after {MOST} returns"):
        ravine.train("@fashion", out=tmp_path / "run", **settings)


def judged(tmp_path: Path, losses: list[float], *, classes: int = 10) -> list[str]:
    """Returns the reasons of the returns that a toy run with these mean losses makes."""
    state = toy()
    assert state.divergence is not None
    points = SavePoints(folder=tmp_path / "points", checkpoints=tmp_path / "checkpoints")
    rollback = Rollback(state.divergence, points, classes=classes)
    rollback.begin(state)
    found = []
    for loss in losses:
        for _ in range(WINDOW):
            state.step += 1
            back = rollback.after_step(state, torch.tensor(loss))
            if back is not None:
                found.append(back.reason)
    return found


def toy() -> TrainingState:
    model = nn.Linear(2, 2)
    state = start_state(model, Momentum(model.parameters(), 0.1), ema=0.0)
    state.divergence = DivergenceState()
    return state


@pytest.mark.parametrize(
    ("losses", "returns"),
    [
        ([2.3, 1.5, 1.0], 0),
        ([2.3, 4.5, 4.5], 0),  # under twice ln 10
        ([2.3, 1.5, 4.7], 1),
        ([9.0, 17.0, 3.0], 0),  # as bad as the start was
        ([9.0, 19.0], 1),
        ([2.3, 1.5, 2.29], 1),  # everything is forgotten
        ([2.3, 2.2, 2.29], 0),  # nothing was known
        ([2.3, math.nan], 1),
    ],
)
def test_what_counts_as_diverged(tmp_path: Path, losses: list[float], returns: int) -> None:
    assert len(judged(tmp_path, losses)) == returns


def test_a_return_goes_to_the_good_state_before_the_last(tmp_path: Path) -> None:
    state = toy()
    assert state.divergence is not None
    points = SavePoints(folder=tmp_path / "points", checkpoints=tmp_path / "checkpoints")
    rollback = Rollback(state.divergence, points, classes=10)
    rollback.begin(state)
    weights = {}
    for window, loss in enumerate((2.0, 1.5, 1.2)):
        for _ in range(WINDOW):
            state.step += 1
            assert rollback.after_step(state, torch.tensor(loss)) is None
        weights[state.step] = state.model.weight.detach().clone()  # type: ignore[union-attr,operator]
        with torch.no_grad():
            state.model.weight.add_(window + 1)  # type: ignore[union-attr,operator]
    found = []
    for _ in range(WINDOW):
        state.step += 1
        found.append(rollback.after_step(state, torch.tensor(50.0)))
    assert found[-1] is not None
    assert (found[-1].to, state.step) == (2 * WINDOW, 2 * WINDOW)
    assert torch.equal(state.model.weight, weights[2 * WINDOW])  # type: ignore[arg-type]
    kept = sorted(path.name for path in (tmp_path / "points").iterdir())
    assert kept == ["step-00000200"]


def test_rates_follow_the_scale_whatever_their_schedule(tmp_path: Path) -> None:
    memory = DivergenceState()
    points = SavePoints(folder=tmp_path, checkpoints=tmp_path)
    rollback = Rollback(memory, points, classes=10)
    curves = [
        rollback.schedules({})["lr"],
        rollback.schedules({"lr": lambda p: 1 - p})["lr"],
        rollback.schedules({"lr": Absolute(lambda p: 4 * p)})["lr"],
    ]
    memory.scale = 0.5
    at = [(c.value_at if isinstance(c, Absolute) else c)(0.5) for c in curves]
    assert at == [0.5, 0.25, 1.0]
