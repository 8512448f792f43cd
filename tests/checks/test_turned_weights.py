"""Weights of classes that are turned round, of labels and of zeros and ones; and imbalance."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

WEIGHTS = torch.randn(8, 3, generator=torch.Generator().manual_seed(5))


def network(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, outputs))


def inputs() -> list[Tensor]:
    torch.manual_seed(0)
    return list(torch.randn(8, 64, 8).unbind())


@pytest.mark.parametrize(("weight", "is_fault"), [(1 / 9, True), (1.0, False), (9.0, False)])
def test_positives_that_are_rare_and_count_for_less_are_found(
    weight: float, is_fault: bool
) -> None:
    batches = [(x, (x[:, :1] > 1.3).float()) for x in inputs()]
    factor = torch.tensor(weight)

    found = ravine.check(
        network(1),
        lambda out, y: F.binary_cross_entropy_with_logits(out, y, pos_weight=factor),
        batches,
        learn=False,
    )

    assert ("loss-ignores-examples" in found.codes) == is_fault


def soft_dice(out: Tensor, y: Tensor) -> Tensor:
    """Of each image by itself, (N, …)."""
    p, y = out.sigmoid().flatten(1), y.flatten(1)
    return -((2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)).mean()


def jaccard(out: Tensor, y: Tensor) -> Tensor:
    """Of the whole batch."""
    p = out.sigmoid()
    return 1 - (p * y).sum() / (p + y - p * y).sum()


def f_score(out: Tensor, y: Tensor) -> Tensor:
    """The mean of those of the columns."""
    p = out.sigmoid()
    return 1 - (2 * (p * y).sum(0) / (p.sum(0) + y.sum(0) + 1e-6)).mean()


def correlation(out: Tensor, y: Tensor) -> Tensor:
    return 1 - torch.corrcoef(torch.stack([out.sigmoid().flatten(), y.flatten()]))[0, 1]


@pytest.mark.parametrize("loss", [soft_dice, jaccard, f_score, correlation])
def test_a_ratio_of_sums_has_no_weights_of_its_numbers(
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    reached = 0.5 + torch.arange(32.0)  # masks that begin at one end, few of them large
    batches = [(x, (10 + 10 * x[:, :1] > reached).float()) for x in inputs()]

    found = ravine.check(network(32), loss, batches, learn=False).codes

    assert "loss-ignores-examples" not in found


@pytest.mark.parametrize("is_met", [True, False])
def test_imbalance_that_the_loss_makes_up_for_is_a_note(is_met: bool) -> None:
    batches = [(x, (x[:, 0] > 1.8).long()) for x in inputs()]
    share = float(torch.cat([y for _, y in batches]).double().mean())
    weights = torch.tensor([1.0, 1 / share if is_met else 1.0])

    found = ravine.check(
        network(2), lambda out, y: F.cross_entropy(out, y, weights), batches, learn=False
    )

    assert [(one.code, one.severity) for one in found] == [
        ("imbalance", "note" if is_met else "warning")
    ]


@pytest.mark.parametrize("logarithm", [True, False])
def test_a_divergence_of_probabilities_from_shares_lacks_its_logarithm(logarithm: bool) -> None:
    batches = [(x, (x @ WEIGHTS).softmax(1)) for x in inputs()]

    def loss(out: Tensor, shares: Tensor) -> Tensor:
        given = out.log_softmax(1) if logarithm else out.softmax(1)
        return F.kl_div(given, shares, reduction="batchmean")

    found = ravine.check(network(3), loss, batches, learn=False).codes

    assert ("loss-expects-log-probabilities" in found) == (not logarithm)
