"""Validations that are drawn anew: augmented by chance, in one order or in another."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.monitor.repeated_validation import share_changed


def pictures(count: int) -> Tensor:
    """Returns smooth images (N, 1, 16, 16) that are not alike."""
    chance = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, 1, 5, 5, generator=chance)
    return F.interpolate(coarse, (16, 16), mode="bicubic") + 0.02 * torch.randn(
        count, 1, 16, 16, generator=chance
    )


def drawn(x: Tensor) -> Tensor:
    """Returns images of which each is mirrored, and moved by a pixel, or not."""
    mirrored = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
    moved = torch.stack([one.roll(int(torch.randint(-1, 2, ())), -1) for one in mirrored])
    return moved + 1e-3 * torch.randn(len(x), 1, 1, 1)


@pytest.mark.parametrize(
    ("is_shuffled", "is_drawn", "is_part"),
    [
        (False, True, False),
        (True, True, False),
        (False, False, False),
        (True, False, False),
        (True, False, True),
    ],
)
def test_examples_that_are_drawn_anew_are_counted(
    is_shuffled: bool, is_drawn: bool, is_part: bool
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        images, passes = pictures(400 if is_part else 200), []
        for _ in range(2):
            order = torch.randperm(len(images)) if is_shuffled else torch.arange(len(images))
            x = images[order[:200]]
            passes.append(((drawn(x) if is_drawn else x,), {}))
        share = share_changed(*passes, classes=4)
    assert (share > 0.5) if is_drawn else (share < 0.1)
