"""Weights that are put back to what they were, again and again or where a step does not help."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

STEPS = 60


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))


def draw(count: int, centres: Tensor) -> tuple[Tensor, Tensor]:
    y = torch.randint(0, 5, (count,))
    return 2 * centres[y] + 0.5 * torch.randn(count, 20), y


@pytest.mark.parametrize("is_lower_better", [True, False])
def test_best_weights_that_are_put_back_again_and_again_are_seen(is_lower_better: bool) -> None:
    model, centres = network(), torch.randn(5, 20)
    x, y = draw(100, centres)
    best: list[Any] = []

    def keep(model: nn.Module, step: int) -> None:
        if step % 4 != 3:
            return
        with torch.no_grad():
            value = float(F.cross_entropy(model(x), y))
        if not best or (value < best[0]) == is_lower_better:
            best[:] = [value, copy.deepcopy(model.state_dict())]
        else:
            model.load_state_dict(best[1])

    def learn(model: nn.Module) -> ravine.Monitor:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        with ravine.Monitor(model, optimizer) as monitor:
            for step in range(STEPS):
                inputs, labels = draw(64, centres)
                optimizer.zero_grad()
                loss = F.cross_entropy(model(inputs), labels)
                loss.backward()
                optimizer.step()
                keep(model, step)
                monitor.record(loss=loss)
        return monitor

    assert ("weights-changed-outside" in learn(model).findings.codes) is not is_lower_better


def test_steps_that_are_taken_back_where_they_do_not_help_are_left_alone() -> None:
    model, (x, y) = network(), draw(100, torch.randn(5, 20))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    reached: list[Any] = []
    with ravine.Monitor(model, optimizer) as monitor:
        for step in range(STEPS):
            loss = F.cross_entropy(model(x), y)
            monitor.record(loss=loss.detach())
            if step % 4 == 0:
                reached[:] = [copy.deepcopy(model.state_dict())]
            else:
                model.load_state_dict(reached[0])
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    assert "weights-changed-outside" not in monitor.findings.codes
