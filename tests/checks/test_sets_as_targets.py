"""Targets that a loss compares as a set: which of them belongs to which input is no question."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine


def energy(out: Tensor, real: Tensor) -> Tensor:
    between = 2 * torch.cdist(out, real).mean()
    return between - torch.cdist(out, out).mean() - torch.cdist(real, real).mean()


@pytest.mark.parametrize("is_set", [True, False])
def test_samples_of_a_distribution_need_not_belong_to_their_noise(is_set: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        turn = 3.1 * torch.rand(16, 128)
        real = torch.stack([1.5 * turn.cos() + 1, 1.5 * turn.sin() - 1], 2)
        real = real + 0.1 * torch.randn(16, 128, 2)
        given = [(torch.randn(128, 4), one) for one in real]
        model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
        found = ravine.check(
            model, energy if is_set else F.mse_loss, given, labels_probe=True, learn=False
        ).codes
    assert ("labels-unrelated" in found) is not is_set


def test_values_in_batches_larger_than_those_that_are_sent_through_are_checked() -> None:
    given = [(torch.randn(100, 4), torch.randn(100, 2)) for _ in range(4)]
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    assert ravine.check(model, F.mse_loss, given, learn=False).codes == ()
