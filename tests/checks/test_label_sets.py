"""Rows of labels that belong to their inputs, and rows that were shuffled alone."""

import torch
from torch import nn

import ravine
from ravine.checks.label_set_relation import correlation, deviations, neighbour_shares
from ravine.training.loss import binary_cross_entropy


def _data(count: int = 256) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns inputs (N, 8) and three labels that follow from them, one of them rare."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 8, generator=generator)
    return x, torch.stack([x[:, 0] > 0, x[:, 1] > 1, x[:, 2] + x[:, 3] > 0.5], 1).float()


def test_the_correlation_is_the_mean_of_pearsons_over_labels_that_differ() -> None:
    x, y = _data()
    answers = x[:, :3]
    known = [float(torch.corrcoef(torch.stack([answers[:, k], y[:, k]]))[0, 1]) for k in range(3)]

    assert abs(correlation(answers, y) - sum(known) / 3) < 1e-6
    assert correlation(answers, torch.ones_like(y)) == 0.0


def test_neighbours_know_labels_of_their_own_inputs_and_not_shuffled_ones() -> None:
    x, y = _data()
    shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]

    found = [
        deviations(neighbour_shares(x, rows), rows, torch.Generator().manual_seed(2))
        for rows in (y, shuffled)
    ]

    assert found[0] > 10
    assert abs(found[1]) < 4


def test_a_check_finds_rows_of_labels_that_were_shuffled() -> None:
    x, y = _data()
    shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
    loss = binary_cross_entropy(label_smoothing=0.0, positive_weights=None)
    codes = []
    for rows in (y, shuffled):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        batches = list(zip(x.split(64), rows.split(64), strict=True))
        codes.append(ravine.check(model, loss, batches, learn=False, labels_probe=True).codes)

    assert "labels-unrelated" not in codes[0]
    assert "labels-unrelated" in codes[1]
