"""Ends of networks that read the axis of the classes in another place than it was made in."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine


class Grid(nn.Module):
    """Classes of 4 by 4 cells, (N, 16, 3)."""

    def __init__(self, *, turns: bool) -> None:
        super().__init__()
        self.net, self.turns = nn.Conv2d(1, 3, 2, stride=2), turns

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out.flatten(2).transpose(1, 2) if self.turns else out.reshape(len(x), 16, 3)


class Tags(nn.Module):
    """Classes of 7 words, (N, 3, 7)."""

    def __init__(self, *, turns: bool) -> None:
        super().__init__()
        self.words, self.head, self.turns = nn.Embedding(9, 8), nn.Linear(8, 3), turns

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.words(x))
        return out.transpose(1, 2) if self.turns else out.reshape(len(x), 3, -1)


def of_rows(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out.flatten(0, 1), y.flatten())


@pytest.mark.parametrize("turns", [False, True])
def test_a_head_that_is_reshaped_and_not_turned_is_named(turns: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        grids = [(torch.randn(16, 1, 8, 8), torch.randint(0, 3, (16, 16))) for _ in range(2)]
        words = [(torch.randint(0, 9, (16, 7)), torch.randint(0, 3, (16, 7))) for _ in range(2)]
        cells = ravine.check(Grid(turns=turns), of_rows, grids, learn=False).codes
        tags = ravine.check(Tags(turns=turns), F.cross_entropy, words, learn=False).codes

    assert ("outputs-scrambled" in cells) == ("outputs-scrambled" in tags) == (not turns)
