"""Examples of validation that are copies of training, saved again or mirrored; and others."""

import pytest
import torch
from torch import Tensor

from ravine.monitor.seen_examples import SeenExamples


def pictures(count: int) -> Tensor:
    """Returns smooth images (N, 1, 16, 16) of few kinds, as of real classes."""
    kinds = torch.randn(4, 1, 5, 5)[torch.randint(0, 4, (count,))]
    coarse = kinds + 0.5 * torch.randn(count, 1, 5, 5)
    return torch.nn.functional.interpolate(coarse, (16, 16), mode="bicubic")


@pytest.mark.parametrize("how", ["noise", "mirrored", "brighter", "others"])
def test_copies_that_were_changed_a_little_are_found(how: str) -> None:
    torch.manual_seed(0)
    images = pictures(1200)
    seen = SeenExamples()
    seen.add(((images[:1000],), {}))
    held = images[1000:1064] if how == "others" else images[:64]
    held = held + 0.03 * torch.randn(held.shape) if how == "noise" else held
    held = held.flip(3) if how == "mirrored" else 1.2 * held + 0.1 if how == "brighter" else held

    share = seen.share_of(((held,), {}))

    assert share < 0.15 if how == "others" else share > 0.8
