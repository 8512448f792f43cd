"""Cells of a detector's targets that are transposed against their pictures, and those that fit."""

import pytest
import torch
from torch import Tensor, nn

import ravine

SIDE, CELLS = 12, 4


def loss(out: Tensor, grid: Tensor) -> Tensor:
    return (out - grid).square().mean()


class Permuted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


@pytest.mark.parametrize("is_last", [True, False])
@pytest.mark.parametrize(
    ("is_transposed", "is_local", "named"),
    [(True, True, True), (False, True, False), (True, False, False)],
)
def test_transposed_cells_are_named_where_the_network_is_local(
    is_transposed: bool, is_local: bool, named: bool, is_last: bool
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pictures, grids = 0.3 * torch.randn(128, 1, SIDE, SIDE), torch.zeros(128, 1, CELLS, CELLS)
        for picture, grid in zip(pictures, grids, strict=True):
            row, column = torch.randint(0, CELLS, (2,)).tolist()
            picture[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 2
            grid[:, row, column] = 1
        grids = grids.mT.clone() if is_transposed else grids
        local = nn.Sequential(nn.Conv2d(1, 8, 3, stride=3), nn.ReLU(), nn.Conv2d(8, 1, 1))
        whole = nn.Sequential(
            nn.Flatten(), nn.Linear(SIDE * SIDE, 16), nn.ReLU(), nn.Linear(16, CELLS * CELLS),
            nn.Unflatten(1, (1, CELLS, CELLS)),
        )  # fmt: skip
        batches = list(zip(pictures.split(16), grids.split(16), strict=True))
        model = local if is_local else whole
        if is_last:
            model = nn.Sequential(model, Permuted())
            batches = [(x, y.permute(0, 2, 3, 1)) for x, y in batches]
        found = ravine.check(model, loss, batches, learn=False, labels_probe=True)

    assert ("labels-unrelated" in found.codes) == named
