"""Points that stay where they were while their images are mirrored, and points that go along."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine


def spots(count: int) -> tuple[Tensor, Tensor]:
    """Returns images (N, 1, 12, 12) with a bright spot each, and its place in [−1, 1], (N, 2)."""
    places = 1.6 * torch.rand(count, 2) - 0.8
    grid = torch.linspace(-1, 1, 12)
    rows = (-((grid - places[:, :1]) ** 2) / 0.05).exp()
    columns = (-((grid - places[:, 1:]) ** 2) / 0.05).exp()
    images = rows[:, :, None] * columns[:, None] + 0.05 * torch.randn(count, 12, 12)
    return images[:, None], places


@pytest.mark.parametrize(
    ("axis", "share", "along"),
    [(3, 0.5, False), (2, 0.3, False), (3, 0.5, True), (3, 0.0, False), (3, 1.0, False)],
)
def test_mirrored_images_whose_points_stay_are_found(axis: int, share: float, along: bool) -> None:
    torch.manual_seed(0)
    x, y = spots(640)
    mirrored = torch.rand(640) < share
    x = torch.where(mirrored[:, None, None, None], x.flip(axis), x)
    if along:
        y[:, axis - 2] *= torch.where(mirrored, -1.0, 1.0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 2))
    batches = list(zip(x.split(64), y.split(64), strict=True))

    found = ravine.check(model, F.mse_loss, batches, labels_probe=True, learn=False)

    assert ("labels-unrelated" in found.codes) == (0 < share < 1 and not along)
