"""Batches of one class: sorted, so that others come later, or all that there is."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler, TensorDataset

import ravine


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        self.labels = labels

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for label in self.labels:
            yield torch.randn(4), label


def codes(batches: object) -> tuple[str, ...]:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    return ravine.check(model, F.cross_entropy, batches, learn=False).codes


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("is_sorted", [True, False])
def test_one_class_is_a_matter_of_order_only_where_others_come_later(
    *, is_stream: bool, is_sorted: bool
) -> None:
    labels = torch.arange(600) // 300 if is_sorted else torch.zeros(600, dtype=torch.long)
    data = Stream(labels) if is_stream else TensorDataset(torch.randn(600, 4), labels)

    assert ("not-shuffled" in codes(DataLoader(data, batch_size=8))) == is_sorted


def test_a_sampler_that_draws_one_class_on_purpose_leaves_its_generator_as_it_was() -> None:
    chance = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(600, 4), torch.arange(600) // 300)
    loader = DataLoader(data, 8, sampler=SubsetRandomSampler(range(300), generator=chance))
    state = chance.get_state()

    assert "not-shuffled" not in codes(loader)
    assert torch.equal(state, chance.get_state())
