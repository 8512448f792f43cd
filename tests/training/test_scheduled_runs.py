"""Momentum and weight decay that move through a run, seen from outside and across a resume."""

from pathlib import Path
from typing import Any

import pytest

import ravine
import ravine.training.loop as loop
from ravine.core.errors import SettingError
from ravine.core.events import Event, StepDone

_SMALL = {"model": "wrn-10-1", "batch": 16, "device": "cpu", "checkpoint_every": 0.0}
_SMALL |= {"convolution": "guess"}  # measured plans may differ
_MOVING = {"momentum_schedule": "one-cycle", "decay_schedule": "cosine", "momentum": 0.95}


class Stop(Exception):
    pass


def _until(step: int):  # type: ignore[no-untyped-def]
    def observe(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            raise Stop

    return observe


@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
def test_a_resumed_run_with_moving_momentum_and_decay_ends_bitwise_the_same(
    stripes: Path, tmp_path: Path, optimizer: str
) -> None:
    settings = {**_SMALL, **_MOVING, "optimizer": optimizer}
    whole = ravine.train(stripes, out=tmp_path / "whole", epochs=1.5, **settings)
    out = tmp_path / "stopped"
    with pytest.raises(Stop):
        ravine.train(stripes, out=out, epochs=1.5, observers=[_until(7)], **settings)
    resumed = ravine.resume(out)

    same = (resumed.path / "model.safetensors").read_bytes()
    assert same == (whole.path / "model.safetensors").read_bytes()
    assert 'momentum_schedule = "one-cycle"' in (out / "recipe.toml").read_text()


def test_each_step_is_taken_with_the_values_of_its_progress(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float, float]] = []
    taken = loop.train_step

    def watched(state: Any, *args: Any, **kwargs: Any) -> Any:
        decayed, spared = state.optimizer.param_groups
        assert spared["weight_decay"] == 0
        assert spared["momentum"] == decayed["momentum"]
        seen.append((decayed["lr"], decayed["momentum"], decayed["weight_decay"]))
        return taken(state, *args, **kwargs)

    monkeypatch.setattr(loop, "train_step", watched)
    settings = {**_SMALL, **_MOVING, "lr": 1.0, "weight_decay": 0.01, "schedule": "linear"}
    ravine.train(stripes, out=tmp_path / "run", epochs=1, warmup=0.25, **settings)

    half = len(seen) // 2
    rate, momentum, decay = zip(*seen, strict=True)
    p = half / len(seen)
    assert rate[half] == pytest.approx(1 - (p - 0.25) / 0.75)
    assert momentum[half] == pytest.approx(0.85 + 0.1 * (p - 0.25) / 0.75)
    assert momentum[0] == 0.95
    assert (decay[0], decay[half]) == (0.01, pytest.approx(0.01 * 0.5, rel=0.2))


@pytest.mark.parametrize("optimizer", ["adagrad", "rmsprop"])
def test_momentum_cannot_move_where_there_is_none(tmp_path: Path, optimizer: str) -> None:
    with pytest.raises(SettingError, match=f"{optimizer} has no momentum; take constant"):
        ravine.train(
            "@fashion", out=tmp_path / "run", optimizer=optimizer, momentum_schedule="linear"
        )
    assert not (tmp_path / "run").exists()
