"""Validation meters that are never reset: a mean of all validations; and healthy runs."""

import math
from typing import Any

import numpy as np
import pytest

from ravine.findings.loop_record import LoopRecord
from ravine.findings.loss_scale import find_other_scale, on_one_scale
from ravine.findings.run_trace import Trace, trace

_EVERY = 20


def run(
    seed: int, *, averaged: bool, speed: float, noise: float = 0.02, gap: float = 0.0
) -> tuple[Trace, np.ndarray]:
    """Returns a run of 8 validations and what each of them was (8, 2)."""
    chance = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    true: list[tuple[float, float]] = []
    for step in range(1, 8 * _EVERY + 1):
        loss = 0.5 + 1.8 * math.exp(-speed * step)
        train = loss * (1 - gap * step / 160) + noise * chance.normal()
        rows.append({"kind": "step", "step": step, "loss": train, "lr": 0.1})
        if step % _EVERY == 0:
            accuracy = 0.85 - 0.7 * math.exp(-speed * step)
            true.append((loss + noise * chance.normal(), accuracy + 0.2 * noise * chance.normal()))
            told = np.mean(true, 0) if averaged else true[-1]
            rows.append({"kind": "epoch", "step": step, "loss": told[0], "accuracy": told[1],
                         "train_loss": train})  # fmt: skip
    return trace(rows, classes=10), np.array(true)


def named(given: Trace) -> list[str]:
    return [one.code for one in find_other_scale(LoopRecord(validations=8), given)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("speed", [0.02, 0.04])
def test_a_mean_of_all_validations_is_named_and_taken_apart(seed: int, speed: float) -> None:
    given, true = run(seed, averaged=True, speed=speed)

    assert named(given) == ["accuracy-disagrees"]
    found = on_one_scale(LoopRecord(validations=8), given).validations
    assert np.allclose(found[:, 1:3], true)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("speed", [0.005, 0.02, 0.04, 0.2])
@pytest.mark.parametrize("gap", [0.0, 0.3, 0.8])
def test_validations_that_stand_by_themselves_are_let_be(
    seed: int, speed: float, gap: float
) -> None:
    given, _ = run(seed, averaged=False, speed=speed, gap=gap)

    assert named(given) == []
