"""Pairs of which one kind is hardly drawn, and tables of embeddings that hold nothing learnt."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine


class Distance(nn.Module):
    """How far two inputs lie apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return (self.layers(one) - self.layers(other)).norm(dim=1)


def contrast(apart: Tensor, alike: Tensor) -> Tensor:
    """The loss of pairs of Hadsell et al., 2006, with a margin of 1."""
    return (alike * apart**2 + (1 - alike) * F.relu(1 - apart) ** 2).mean()


@pytest.mark.parametrize(("share", "is_named"), [(0.004, True), (0.0, False), (0.05, False)])
def test_pairs_of_which_hardly_one_differs_are_named(share: float, is_named: bool) -> None:
    torch.manual_seed(0)
    batches = []
    for number in range(16):
        alike = torch.ones(64)
        rare = round(16 * 64 * share) if share == 0.004 and number == 3 else round(64 * share)
        alike[:rare] = 0
        batches.append(((torch.randn(64, 6), torch.randn(64, 6)), alike))

    found = ravine.check(Distance(), contrast, batches, learn=False).codes

    assert ("imbalance" in found) == is_named


class Words(nn.Module):
    """A mean of words' vectors, and a layer."""

    def __init__(self, vectors: Tensor, *, freeze: bool) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(vectors, freeze=freeze)
        self.head = nn.Linear(vectors.shape[1], 3)

    def forward(self, words: Tensor) -> Tensor:
        logits: Tensor = self.head(self.words(words).mean(1))
        return logits


@pytest.mark.parametrize(
    ("kind", "freeze", "is_named"),
    [("drawn", True, True), ("drawn", False, False), ("trained", True, False)],
)
def test_a_frozen_table_of_drawn_vectors_is_named(kind: str, freeze: bool, is_named: bool) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(200, 8)
    if kind == "trained":  # frequent words are longer
        vectors *= torch.linspace(0.2, 1.5, 200)[:, None]
    batches = [(torch.randint(0, 200, (64, 12)), torch.randint(0, 3, (64,))) for _ in range(8)]

    model = Words(vectors, freeze=freeze)
    found = ravine.check(model, F.cross_entropy, batches, learn=False).codes

    assert ("frozen-at-random" in found) == is_named
