"""Averaged weights that validation puts in by `.data`, put back or not, and what looks like it."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

STEPS, EVERY = 60, 10


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Weights:
    """The weights of a network, an average of them, and those of a moment before."""

    def __init__(self, model: nn.Module, decay: float = 0.9) -> None:
        self.own, self.decay = list(model.parameters()), decay
        self.average = self.read()
        self.backup = self.read()

    def read(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.own]

    def write(self, values: list[Tensor]) -> None:
        for p, value in zip(self.own, values, strict=True):
            p.data.copy_(value)

    def follow(self) -> None:
        for mean, p in zip(self.average, self.own, strict=True):
            mean.lerp_(p.detach(), 1 - self.decay)

    def put_in(self) -> None:
        self.backup = self.read()
        self.write(self.average)

    def put_back(self) -> None:
        self.write(self.backup)

    def clamp(self) -> None:
        for p in self.own:
            p.data.clamp_(-0.05, 0.05)

    def look_ahead(self) -> None:
        self.average = [(a + p.detach()) / 2 for a, p in zip(self.average, self.own, strict=True)]
        self.write(self.average)

    def prune(self) -> None:
        for p in self.own:
            p.data.mul_(p.detach().abs() > p.detach().abs().median() / 4)

    def nothing(self) -> None:
        pass


Act = Callable[[Weights], None]


def codes(each: Act, before: Act, after: Act, *, often: int = 1) -> tuple[str, ...]:
    """Returns what a monitor says of a training that acts each step and around validation."""
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
    centres = torch.randn(5, 20)

    def draw() -> tuple[Tensor, Tensor]:
        y = torch.randint(0, 5, (64,))
        return 0.7 * centres[y] + torch.randn(64, 20), y

    held, weights = draw(), Weights(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with ravine.Monitor(model, optimizer) as monitor:
        for step in range(1, STEPS + 1):
            x, y = draw()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
            if step % often == 0:
                each(weights)
            if step % EVERY == 0:
                before(weights)
                model.eval()
                with torch.no_grad():
                    value = F.cross_entropy(model(held[0]), held[1])
                model.train()
                monitor.record(loss=value, split="validation")
                after(weights)
    return monitor.findings.codes


def test_an_average_that_is_never_taken_out_again_is_found() -> None:
    found = codes(Weights.follow, Weights.put_in, Weights.nothing)

    assert "weights-changed-outside" in found


@pytest.mark.parametrize(
    ("each", "before", "after", "often"),
    [
        (Weights.follow, Weights.put_in, Weights.put_back, 1),
        (Weights.clamp, Weights.nothing, Weights.nothing, 1),
        (Weights.look_ahead, Weights.nothing, Weights.nothing, 5),
        (Weights.nothing, Weights.prune, Weights.nothing, 1),
        (Weights.nothing, Weights.nothing, Weights.nothing, 1),
    ],
)
def test_weights_that_are_put_back_or_moved_by_the_loop_are_left_alone(
    each: Act, before: Act, after: Act, often: int
) -> None:
    assert "weights-changed-outside" not in codes(each, before, after, often=often)
