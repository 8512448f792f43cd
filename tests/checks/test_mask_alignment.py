"""Masks that were moved against their pictures, and masks of what lies beside a bright thing."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ravine
from ravine.checks.mask_alignment import share_of_wins


@pytest.mark.parametrize(("kind", "named"), [("right", False), ("moved", True), ("shadow", False)])
def test_masks_that_lie_beside_what_they_mark_are_told_from_those_of_shadows(
    kind: str, named: bool
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pictures, masks = 0.4 * torch.randn(96, 1, 20, 20), torch.zeros(96, 20, 20).long()
        for mask in masks:
            top, left = torch.randint(0, 12, (2,)).tolist()
            mask[top : top + 5, left : left + 6] = 1
        shadows = masks.roll(3, 1) * (1 - masks)
        pictures += 1.5 * masks[:, None] - (0.9 * shadows[:, None] if kind == "shadow" else 0)
        targets = {"right": masks, "moved": masks.roll(3, 1), "shadow": shadows}[kind]
        model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 2, 1))
        batches = list(zip(pictures.split(16), targets.split(16), strict=True))
        found = ravine.check(model, F.cross_entropy, batches, learn=False, labels_probe=True)

    assert ("labels-unrelated" in found.codes) == named


def test_the_best_of_several_positions_is_ahead_by_chance_and_a_single_one_is_not() -> None:
    chance = torch.Generator().manual_seed(0)
    gains = 0.12 * torch.randn(400, 7, generator=chance) - 0.1
    mirrored = gains.clone()
    mirrored[:200, 0] += 0.4

    assert (gains.amax(1) > 0.05).double().mean() > 0.25
    assert share_of_wins(gains).max() < 0.25 < share_of_wins(mirrored).max()


def test_places_that_are_not_judged_are_no_region_of_a_mask() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        masks = torch.zeros(96, 16, 16).long()
        for mask in masks:
            top, left = torch.randint(0, 4, (2,)).tolist()
            mask[top : top + 5, left : left + 6] = 1
        pictures = 0.4 * torch.randn(96, 1, 16, 16) + masks[:, None]
        targets = masks.flip(2).clone()
        targets[:, 10:] = -100  # where pictures show something else that is as it was
        pictures[:, :, 10:, :8] += 3.0
        model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 2, 1))
        batches = list(zip(pictures.split(16), targets.split(16), strict=True))
        found = ravine.check(model, F.cross_entropy, batches, learn=False, labels_probe=True)

    assert "labels-unrelated" in found.codes
