"""Examples of validation that are copies of training, saved again or mirrored; and others."""

import pytest
import torch
from torch import Tensor

from ravine.monitor.augmented_copies import share_of_copies
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


def augmented(images: Tensor, *, copies: int) -> Tensor:
    """Returns shifted, mirrored and noisy copies of images (N, 1, 16, 16), in a random order."""
    found = []
    for image in images.repeat_interleave(copies, 0):
        rows, columns, side = torch.randint(0, 3, (3,)).tolist()
        moved = image.roll((rows - 1, columns - 1), (1, 2))
        found.append(moved.flip(2) if side == 0 else moved)
    changed = torch.stack(found)
    return (changed + 0.05 * torch.randn_like(changed))[torch.randperm(len(changed))]


@pytest.mark.parametrize("source", ["the same", "others", "one pattern a class"])
def test_pictures_that_were_augmented_before_they_were_split_are_found(source: str) -> None:
    torch.manual_seed(0)
    images = pictures(100)
    if source == "one pattern a class":
        images = images[:4].repeat(25, 1, 1, 1)
    both = augmented(images, copies=6)
    held = augmented(pictures(100), copies=1) if source == "others" else both[500:]

    share = share_of_copies(((both[:500],), {}), ((held,), {}), 4)

    assert share > 0.5 if source == "the same" else share < 0.1
