"""The losses between which a network of several labels learns, against sums by definition."""

import math

import numpy as np
import pytest

from ravine.findings.history_detectors import find_over_time
from ravine.findings.label_floor import ignorance_of, label_floor
from ravine.findings.run_trace import trace


def _entropy(x: float) -> float:
    return -sum(p * math.log(p) for p in (x, 1 - x) if p > 0)


def test_ignorance_is_the_sum_of_the_entropies_of_smoothed_shares() -> None:
    shares = [0.5, 0.1, 0.0, 1.0]

    assert ignorance_of(shares) == pytest.approx(_entropy(0.5) + _entropy(0.1))
    smoothed = sum(_entropy(0.8 * p + 0.1) for p in shares)
    assert ignorance_of(shares, label_smoothing=0.2) == pytest.approx(smoothed)


def test_the_floor_is_zero_for_hard_labels_and_that_of_smoothing_else() -> None:
    shares = [0.3, 0.1]

    assert label_floor(shares) == pytest.approx(0.0)
    assert label_floor(shares, label_smoothing=0.1) == pytest.approx(2 * _entropy(0.05))


def test_the_floor_of_mixup_is_the_mean_entropy_of_mixed_labels() -> None:
    rng = np.random.default_rng(0)
    share, alpha, smoothing = 0.3, 0.4, 0.1
    kept = rng.beta(alpha, alpha, 400_000)
    one, other = rng.random((2, 400_000)) < share
    y = (1 - smoothing) * (kept * one + (1 - kept) * other) + smoothing / 2
    known = -(y * np.log(y) + (1 - y) * np.log(1 - y)).mean()

    found = label_floor([share], label_smoothing=smoothing, mixup=alpha)

    assert found == pytest.approx(known, rel=0.01)


def _rows(losses: list[float]) -> list[dict[str, object]]:
    steps = [{"kind": "step", "step": 10 * n, "loss": v} for n, v in enumerate(losses, start=1)]
    return [*steps, {"kind": "epoch", "step": 10 * len(losses), "train_loss": losses[-1]}]


def test_a_run_is_judged_by_what_knowing_nothing_costs_and_not_by_the_number_of_labels() -> None:
    shares = [0.1] * 20  # 20 labels: 6.5 nats, more than twice ln 20
    ignorance = ignorance_of(shares)
    healthy = [ignorance * (1 - 0.02 * n) for n in range(30)]
    stuck = [ignorance] * 30

    codes = [
        {one.code for one in find_over_time(trace(_rows(v), classes=20, ignorance=ignorance))}
        for v in (healthy, stuck)
    ]

    assert codes == [set(), {"plateau"}]
