"""Validations that are drawn anew: augmented by chance, in one order or in another."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.monitor.repeated_validation import are_averaged, share_changed


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


def cut(x: Tensor) -> Tensor:
    """Returns images that are padded by 0, cut to their size somewhere, and mirrored or not."""
    padded, found = F.pad(x, (3, 3, 3, 3)), []
    for one in padded:
        top, left = torch.randint(0, 7, (2,)).tolist()
        part = one[:, top : top + x.shape[2], left : left + x.shape[3]]
        found.append(part.flip(2) if torch.rand(()) < 0.5 else part)
    return torch.stack(found)


def erased(x: Tensor) -> Tensor:
    """Returns images of which a square is 0, each by its own draw."""
    x = x.clone()
    for one in x:
        top, left = torch.randint(0, 10, (2,)).tolist()
        one[:, top : top + 7, left : left + 7] = 0
    return x


def noisy(x: Tensor) -> Tensor:
    return x + 0.5 * torch.randn(x.shape)


@pytest.mark.parametrize("draw", [cut, erased, noisy])
@pytest.mark.parametrize("is_shuffled", [True, False])
@pytest.mark.parametrize("is_same", [True, False])
def test_whatever_is_drawn_is_seen_in_any_order(
    draw: Any, *, is_shuffled: bool, is_same: bool
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        images = pictures(400)
        order = torch.randperm(200) if is_shuffled else torch.arange(200)
        others = images[:200] if is_same else images[200:]
        passes = [((draw(images[:200]),), {}), ((draw(others[order]),), {})]
        share = share_changed(*passes, classes=4)

    assert (share > 0.2) if is_same else (share < 0.1)


def test_several_forms_in_one_validation_are_averaged() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        images = pictures(100)
        forms = [((cut(images),), {}) for _ in range(2)]
        parts = [((cut(part),), {}) for part in images.split(50)]

    assert are_averaged(forms)
    assert not are_averaged(parts)
