"""What the gradients of a loop tell a monitor: left over, cut off, or of a second softmax."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Step = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Body(nn.Module):
    """Two layers and a head; the first two may be cut off."""

    def __init__(self, *, cut: bool = False) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(12, 32), nn.Linear(32, 4)
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        logits: Tensor = self.head(x.detach() if self.cut else x)
        return logits


def watched(
    model: nn.Module,
    step: Callable[[nn.Module, torch.optim.Optimizer], Step],
    *,
    held: bool = False,
    steps: int = 60,
) -> tuple[str, ...]:
    """Returns what a monitor finds; `held`: a validation that forgets eval and no_grad."""
    centres = 2 * torch.randn(4, 12)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    one = step(model, optimizer)
    with ravine.Monitor(model, optimizer) as monitor:
        for n in range(steps):
            y = torch.randint(0, 4, (32,))
            x = centres[y] + torch.randn(32, 12)
            monitor.record(loss=one(x, y))
            if held and n % 12 == 11:
                y = torch.randint(0, 4, (64,))
                out = model(100 * (centres[y] + torch.randn(64, 12)) + 300)
                monitor.record(loss=F.cross_entropy(out, y).detach(), split="validation")
        return monitor.findings.codes


def plain(model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def late(*, to_none: bool, clears: bool = True, passes: int = 1) -> object:
    """Clears, or does not, between the forward and the backward pass."""

    def made(model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
        def step(x: Tensor, y: Tensor) -> Tensor:
            for n in range(passes):
                loss = F.cross_entropy(model(x), y) / passes
                if clears and n == 0:
                    optimizer.zero_grad(set_to_none=to_none)
                loss.backward()
            optimizer.step()
            return passes * loss.detach()

        return step

    return made


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (plain, False),
        (late(to_none=True), False),
        (late(to_none=False), False),
        (late(to_none=False, passes=3), False),
        (late(to_none=True, clears=False), True),
        (late(to_none=True, clears=False, passes=3), True),
    ],
)
def test_gradients_that_nobody_clears_are_named_in_a_short_loop(
    step: Callable[[nn.Module, torch.optim.Optimizer], Step], named: bool
) -> None:
    assert ("gradients-not-cleared" in watched(Body(), step, steps=20)) == named


@pytest.mark.parametrize("cut", [True, False])
def test_layers_that_no_gradient_reaches_are_named(cut: bool) -> None:
    assert ("no-gradient" in watched(Body(cut=cut), plain)) == cut


def test_layers_that_rest_on_purpose_need_no_gradient() -> None:
    model = Body(cut=True)
    model.first.requires_grad_(False)

    assert watched(model, plain) == ()


@pytest.mark.parametrize("twice", [True, False])
def test_a_second_softmax_is_known_by_its_losses(twice: bool) -> None:
    def of_logarithms(model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
        def step(x: Tensor, y: Tensor) -> Tensor:
            optimizer.zero_grad()
            loss = F.nll_loss(model(x).log(), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    model = nn.Sequential(Body(), nn.Softmax(1))

    found = watched(model, plain if twice else of_logarithms, steps=200)

    assert ("softmax-twice" in found) == twice


def test_a_validation_that_keeps_gradients_is_seen_as_one() -> None:
    assert watched(Body(), plain, held=True) == ("validation-prepared-differently",)
