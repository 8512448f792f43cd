"""Losses that cannot fall, or fall too slowly, whatever the network answers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Cosine(nn.Module):
    """A head of cosines, times a scale."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.body, self.rows = nn.Linear(16, 32), nn.Parameter(0.1 * torch.randn(10, 32))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(self.body(x)), F.normalize(self.rows))


def batches() -> list[Batch]:
    return [(torch.randn(32, 16), torch.arange(32) % 10) for _ in range(4)]


def codes(model: nn.Module, loss: Loss) -> tuple[str, ...]:
    return ravine.check(model, loss, batches(), learn=False).codes


def margins(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(20 * (out - 0.2 * F.one_hot(y, 10)), y)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (Cosine(1.0), F.cross_entropy),
        (nn.Linear(16, 10), lambda out, y: F.cross_entropy(F.normalize(out), y)),
        (nn.Linear(16, 10), lambda out, y: F.cross_entropy(out / 100, y)),
    ],
)
def test_logits_that_never_become_large_are_named(model: nn.Module, loss: Loss) -> None:
    assert codes(model, loss) == ("logits-limited",)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (Cosine(16.0), F.cross_entropy),
        (Cosine(64.0), F.cross_entropy),
        (Cosine(1.0), margins),
        (nn.Linear(16, 10), lambda out, y: F.cross_entropy(out, y, label_smoothing=0.3)),
        (nn.Linear(16, 10), lambda out, y: F.cross_entropy(out / 4, y)),
        (nn.Linear(16, 10), F.multi_margin_loss),
        (nn.Sequential(nn.Linear(16, 10), nn.BatchNorm1d(10)), F.cross_entropy),
        (nn.Linear(16, 10), lambda out, y: F.mse_loss(out, F.one_hot(y, 10).float())),
    ],
)
def test_losses_that_can_fall_are_left_alone(model: nn.Module, loss: Loss) -> None:
    assert codes(model, loss) == ()


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, y: F.nll_loss(out.softmax(1), y),
        lambda out, y: F.kl_div(out.softmax(1), F.one_hot(y, 10).float(), reduction="batchmean"),
    ],
)
def test_probabilities_where_logarithms_belong_are_named(loss: Loss) -> None:
    assert codes(nn.Linear(16, 10), loss) == ("loss-expects-log-probabilities",)
    assert codes(nn.Linear(16, 10), lambda out, y: F.nll_loss(out.log_softmax(1), y)) == ()
    # 1 − p as a loss on purpose (Ghosh et al., AAAI 2017)
    absolute = codes(
        nn.Linear(16, 10), lambda out, y: (out.softmax(1) - F.one_hot(y, 10)).abs().sum(1).mean()
    )
    assert absolute == ()


def pictures(*, marked: bool, copies: int = 1) -> list[Batch]:
    """Noise with a class's faint pattern in it, and a mark of the class in a corner."""
    pattern = torch.randn(10, 1, 24, 24)
    y = (torch.arange(320) % 10).repeat(copies)
    x = (0.12 * pattern[y[:320]] + torch.randn(320, 1, 24, 24)).repeat(copies, 1, 1, 1)
    if marked:
        x[:, 0, 0, 1] = 3.0 * y
    order = torch.randperm(len(y))
    return [(x[part], y[part]) for part in order.split(32)]


def probed(found: list[Batch]) -> tuple[str, ...]:
    model = nn.Sequential(nn.Flatten(), nn.Linear(576, 10))
    return ravine.check(model, F.cross_entropy, found, labels_probe=True, learn=False).codes


def test_a_label_that_is_drawn_into_the_picture_is_named() -> None:
    assert "label-in-input" in probed(pictures(marked=True))
    assert "label-in-input" not in probed(pictures(marked=False))
    assert "label-in-input" not in probed(pictures(marked=False, copies=3)[:16])


@pytest.mark.parametrize(
    ("lr", "longest", "is_named"), [(0.5, None, True), (0.02, None, False), (0.5, 1e-2, False)]
)
def test_a_rate_that_falls_behind_a_lower_one_is_too_high(
    lr: float, longest: float | None, is_named: bool
) -> None:
    pattern, found = torch.randn(10, 64), list[Batch]()
    for _ in range(16):
        y = torch.randint(0, 10, (32,))
        found.append((pattern[y] + 3 * torch.randn(32, 64), y))
    layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        if longest is not None:
            nn.utils.clip_grad_norm_(model.parameters(), longest)
        optimizer.step()

    said = ravine.check(model, F.cross_entropy, found, optimizer, step=step).codes

    assert ("rate-too-high" in said) == is_named, said


class Sign(nn.Module):
    """±1 ahead, straight through back, by a function that is none of torch's own."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = _Sign.apply(x)
        return found


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        return slopes[0]


def test_a_layer_that_could_not_be_followed_may_still_make_outputs_sure() -> None:
    body = [nn.Linear(16, 32), nn.BatchNorm1d(32), Sign()]

    assert codes(nn.Sequential(*body, nn.Linear(32, 10)), F.cross_entropy) == ()
