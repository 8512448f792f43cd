"""Running statistics that do not follow: how far they have come from where they began."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.findings.finding import Findings
from ravine.monitor.followed_statistics import StartingStatistics


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


CENTRES = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))


def vectors(size: int) -> tuple[Tensor, Tensor]:
    y = torch.randint(4, (size,))
    return 0.7 * CENTRES[y] + torch.randn(size, 16) + 4, y


def network(momentum: float) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(16, 32), nn.BatchNorm1d(32, momentum=momentum), nn.ReLU()),
        *(nn.Linear(32, 32), nn.BatchNorm1d(32, momentum=momentum), nn.ReLU(), nn.Linear(32, 4)),
    )


def train(model: nn.Sequential, *, steps: int = 120, resting: bool = False) -> Findings:
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    held, labels = vectors(128)
    with ravine.Monitor(model, optimizer) as monitor:
        for step in range(steps):
            model.train()
            for one in model:
                one.train(not (resting and isinstance(one, nn.BatchNorm1d)))
            x, y = vectors(64)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss.detach())
            if step % 20 == 19:
                with torch.no_grad():
                    out = model.eval()(held)
                right = float((out.argmax(1) == labels).double().mean())
                value = F.cross_entropy(out, labels)
                monitor.record(loss=value, split="validation", accuracy=right)
        return monitor.findings


def lags(found: Findings) -> bool:
    return any("of the way" in one.seen for one in found)


@pytest.mark.parametrize("momentum", [0.001, 0.1, 0.03])
def test_a_momentum_of_another_framework_is_named(momentum: float) -> None:
    assert lags(train(network(momentum))) == (momentum < 0.01)


def test_so_is_one_in_a_network_that_was_trained_on_other_inputs() -> None:
    model = network(0.1)
    with torch.no_grad():
        for _ in range(50):
            model(4 * vectors(64)[0] - 3)
    for one in model:
        if isinstance(one, nn.BatchNorm1d):
            one.momentum = 0.001
    assert lags(train(model))


def test_norms_that_rest_in_evaluation_mode_while_training_are_not() -> None:
    assert not lags(train(network(0.001), resting=True))


def test_the_share_of_the_way_is_that_of_an_exponential_average() -> None:
    model, x = network(0.01), vectors(64)[0]
    norms = StartingStatistics(model)
    for _ in range(50):
        model(x)
    before = [b.clone() for b in model.buffers()]
    assert norms.followed(model, (x,), {}) == pytest.approx(1 - 0.99**50, abs=0.02)
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
