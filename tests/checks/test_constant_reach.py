"""Ends of a network that hold it from the constant that its loss wants most."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine


def counts(out: Tensor, y: Tensor) -> Tensor:
    return F.poisson_nll_loss(out, y, log_input=False)


def logarithms(out: Tensor, y: Tensor) -> Tensor:
    return F.poisson_nll_loss(out, y, log_input=True)


@pytest.mark.parametrize(
    ("end", "loss", "rate", "is_named"),
    [
        (nn.Softplus(), logarithms, 0.5, True),
        (nn.ReLU(), logarithms, 0.5, True),
        (nn.Softplus(), logarithms, 4.0, False),  # every logarithm of the rates can be reached
        (nn.Softplus(), counts, 0.5, False),
        (nn.Identity(), logarithms, 0.5, False),
        (nn.Softplus(), F.mse_loss, 0.5, False),
        (nn.Softplus(), F.l1_loss, 4.0, False),
    ],
)
def test_a_logarithm_behind_an_end_that_is_never_negative_is_named(
    end: nn.Module, loss: object, rate: float, is_named: bool
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1), end, nn.Flatten(0))
    batches = [
        (x := torch.randn(64, 4), torch.poisson(rate * (0.5 * x[:, 0]).exp())) for _ in range(8)
    ]

    found = ravine.check(model, loss, batches, learn=False).codes  # type: ignore[arg-type]

    assert ("activation-on-logits" in found) == is_named
