import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ravine.training.speed import seconds_per_image


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.head(x.flatten(1))


def _batches(number: int):
    return [SimpleNamespace(images=torch.randn(8, 1, 2, 2)) for _ in range(number)]


@pytest.mark.parametrize(
    ("seconds", "calls"),
    [
        pytest.param(math.inf, 4, id="the warm-up and three batches"),
        pytest.param(0.0, 1, id="a warm-up that takes all the time is the answer"),
    ],
)
def test_measuring_an_evaluation_ends_with_its_seconds(seconds, calls):
    model = Counted()
    taken = seconds_per_image(
        model, _batches(3), precision=torch.float32, mirrored=False, seconds=seconds
    )
    assert model.calls == calls
    assert taken > 0
