"""A check draws nothing from the training that follows, whatever its batches draw from."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import ravine


class Jittered(Dataset[tuple[Tensor, int]]):
    """Examples that are augmented with random numbers of Python, numpy and torch."""

    def __len__(self) -> int:
        return 48

    def __getitem__(self, n: int) -> tuple[Tensor, int]:
        return random.random() + float(np.random.random()) + torch.rand(20) + n % 5, n % 5


def seed_all(loader: DataLoader[tuple[Tensor, int]]) -> None:
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    if loader.generator is not None:
        loader.generator.manual_seed(3)


def drawn(loader: DataLoader[tuple[Tensor, int]]) -> list[float]:
    """Returns what a training would draw next."""
    images = next(iter(loader))[0]
    return [*images.flatten().tolist(), torch.rand(1).item(), random.random(), np.random.random()]


@pytest.mark.parametrize("own", [False, True])
def test_what_is_drawn_after_a_check_is_what_would_have_been_drawn(own: bool) -> None:
    generator = torch.Generator() if own else None
    loader = DataLoader(Jittered(), batch_size=16, shuffle=True, generator=generator)
    seed_all(loader)
    expected = drawn(loader)
    model = nn.Linear(20, 5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    seed_all(loader)

    ravine.check(model, F.cross_entropy, loader, optimizer, labels_probe=True)

    assert drawn(loader) == expected
