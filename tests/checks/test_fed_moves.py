"""Steps that move pictures with their masks, and steps that leave the masks."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.findings.finding import Findings

_Move = Callable[[Tensor], Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _pictures() -> list[tuple[Tensor, Tensor]]:
    """Returns batches of noisy pictures (N, 1, 20, 20) of an L, with its mask (N, 20, 20)."""
    masks = torch.zeros(128, 20, 20)
    for mask in masks:
        top, left = torch.randint(3, 8, (2,)).tolist()
        mask[top : top + 9, left : left + 3] = 1
        mask[top + 6 : top + 9, left : left + 8] = 1
    x = masks[:, None] + 0.5 * torch.randn(128, 1, 20, 20)
    return list(zip(x.split(32), masks.long().split(32), strict=True))


def _turned(t: Tensor) -> Tensor:
    return t.rot90(int(torch.randint(1, 4, ())), (-2, -1)).roll(int(torch.randint(-4, 5, ())), -1)


def _slanted(t: Tensor) -> Tensor:
    x = t.reshape(len(t), 1, *t.shape[-2:]).float()
    angle = torch.tensor(0.5 if torch.rand(()) < 0.5 else -0.5)
    c, s = angle.cos(), angle.sin()
    rows = torch.stack([c, -s, c * 0, s, c, c * 0]).view(1, 2, 3).expand(len(x), 2, 3)
    grid = F.affine_grid(rows, list(x.shape), align_corners=False)
    mode = "bilinear" if t.is_floating_point() else "nearest"
    return F.grid_sample(x, grid, mode, align_corners=False).reshape(t.shape).to(t)


def _checked(move: _Move, *, masks: str) -> Findings:
    """Returns what is found where masks move along, stay, or move by another draw."""
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        state = torch.get_rng_state()
        x = move(x)
        if masks == "along":
            torch.set_rng_state(state)
        y = y if masks == "stay" else move(y)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return ravine.check(
        model, F.cross_entropy, _pictures(), optimizer, step, labels_probe=True, learn=False
    )


@pytest.mark.parametrize("masks", ["stay", "another draw"])
@pytest.mark.parametrize("move", [_turned, _slanted])
def test_masks_that_do_not_move_along_are_named(move: _Move, masks: str) -> None:
    assert "labels-unrelated" in _checked(move, masks=masks).codes


@pytest.mark.parametrize("move", [_turned, _slanted])
def test_masks_that_move_along_are_not(move: _Move) -> None:
    assert not _checked(move, masks="along").codes


def test_noise_and_contrast_are_no_moves() -> None:
    def louder(t: Tensor) -> Tensor:
        return t * 1.5 + 0.8 * torch.randn_like(t) if t.is_floating_point() else t

    assert not _checked(louder, masks="stay").codes
