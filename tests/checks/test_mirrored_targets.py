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


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6, 1.0, 1.5, 2.0])
def test_a_noisy_place_that_belongs_to_its_image_is_no_mirrored_one(
    noise: float, alone: bool
) -> None:
    torch.manual_seed(0)
    x, y = spots(640)
    y[:, 1] += noise * y.std() * torch.randn(640)
    y = y[:, 1:] if alone else y
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, y.shape[1]))
    batches = list(zip(x.split(64), y.split(64), strict=True))

    found = ravine.check(model, F.mse_loss, batches, labels_probe=True, learn=False)

    assert "labels-unrelated" not in found.codes


@pytest.mark.parametrize("along", [True, False])
@pytest.mark.parametrize("kind", ["points", "masks", "brightness"])
def test_a_step_that_mirrors_images_must_mirror_what_has_a_side(kind: str, along: bool) -> None:
    torch.manual_seed(0)
    x, y = spots(640)
    model: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 2))
    if kind == "masks":
        y, model = (x[:, 0] > 0.5).float()[:, None], nn.Conv2d(1, 1, 3, padding=1)
    if kind == "brightness":
        x = x + torch.randn(640, 1, 1, 1)
        y = x.mean((2, 3)).expand(640, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        turned = torch.rand(len(batch[0])) < 0.5
        images = torch.where(turned[:, None, None, None], batch[0].flip(3), batch[0])
        targets = batch[1]
        if along and kind == "points":
            targets = targets * torch.where(turned[:, None], torch.tensor([1.0, -1.0]), 1.0)
        if along and kind == "masks":
            targets = torch.where(turned[:, None, None, None], targets.flip(3), targets)
        optimizer.zero_grad()
        loss = F.mse_loss(model(images), targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    batches = list(zip(x.split(64), y.split(64), strict=True))
    found = ravine.check(
        model, F.mse_loss, batches, optimizer, step=step, labels_probe=True, learn=False
    )

    assert ("labels-unrelated" in found.codes) == (not along and kind != "brightness")


def test_a_single_value_of_each_image_is_compared_too() -> None:
    torch.manual_seed(0)
    x, y = spots(320)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0)
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(batch[0].flip(2)), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    batches = list(zip(x.split(64), y[:, 0].split(64), strict=True))
    found = ravine.check(
        model, F.mse_loss, batches, optimizer, step=step, labels_probe=True, learn=False
    )

    assert "labels-unrelated" in found.codes
