"""Schedules that leave next to nothing of the learning rate: warm-ups, factors that are none."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ravine


def _watched(factor: Callable[[int], float]) -> ravine.Monitor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5))
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        monitor = ravine.Monitor(model, optimizer)
        with monitor:
            for _ in range(200):
                x = torch.randn(32, 12)
                y = x[:, :5].argmax(1)
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                schedule.step()
                monitor.record(loss=loss)
    return monitor


@pytest.mark.parametrize(
    ("factor", "cause"),
    [
        pytest.param(lambda n: n / 1e6, "the warm-up is longer than the training", id="warm-up"),
        pytest.param(
            lambda n: 2e-3 * min(1.0, (n + 1) / 20) * (1 - n / 300),
            "LambdaLR",
            id="the rate itself",
        ),
    ],
)
def test_a_rate_that_never_is_what_was_set_is_named(
    factor: Callable[[int], float], cause: str
) -> None:
    first = _watched(factor).findings[0]
    assert first.code == "rate-too-low"
    assert cause in first.cause


def test_a_schedule_of_factors_is_not_named() -> None:
    found = _watched(lambda n: min(1.0, (n + 1) / 20) * (1 - n / 300)).findings
    assert "rate-too-low" not in found.codes


def _with_steps(factors: dict[int, float]) -> tuple[str, ...]:
    """Returns the codes of a hard training whose rate is multiplied at some steps."""

    def factor(step: int) -> float:
        found = 1.0
        for at, by in factors.items():
            found *= by if step >= at else 1.0
        return found

    return _watched(factor).findings.codes


def test_two_divisions_by_ten_in_the_first_half_end_the_training() -> None:
    assert "rate-too-low" in _with_steps({40: 0.1, 80: 0.1})
    assert "rate-too-low" not in _with_steps({100: 0.1, 150: 0.1})


@pytest.mark.parametrize("begins_anew", [True, False])
def test_a_warm_up_that_begins_anew_is_named_though_something_is_learnt(begins_anew: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        centres, model = 3 * torch.randn(4, 16), nn.Linear(16, 4)
        optimizer = torch.optim.SGD(model.parameters(), 0.2)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda k: min(1.0, (k % 10 if begins_anew else k) / 400)
        )
        with ravine.Monitor(model, optimizer) as monitor:
            for _ in range(100):
                y = torch.randint(4, (32,))
                optimizer.zero_grad()
                loss = F.cross_entropy(model(centres[y] + torch.randn(32, 16)), y)
                loss.backward()
                optimizer.step()
                schedule.step()
                monitor.record(loss=loss)
            found = monitor.findings
    assert any("fell back" in one.seen for one in found) == begins_anew


@pytest.mark.parametrize("kind", ["the rate itself", "a factor", "resumed late"])
def test_a_rate_that_rises_to_its_own_square_is_named_though_something_is_learnt(kind: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        centres, model = 3 * torch.randn(4, 16), nn.Linear(16, 4)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        most = 1.0 if kind == "a factor" else 0.1
        first = 1 if kind == "resumed late" else 20
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda k: most * min(1.0, (k + 1) / first)
        )
        with ravine.Monitor(model, optimizer) as monitor:
            for _ in range(100):
                y = torch.randint(4, (32,))
                optimizer.zero_grad()
                loss = F.cross_entropy(model(centres[y] + torch.randn(32, 16)), y)
                loss.backward()
                optimizer.step()
                schedule.step()
                monitor.record(loss=loss)
            found = monitor.findings
    assert any("LambdaLR" in one.cause for one in found) == (kind == "the rate itself")
