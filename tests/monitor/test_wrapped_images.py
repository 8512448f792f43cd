"""Brightness that is added in uint8 runs over the end of its range: seen in what training feeds."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.monitor.input_shift import wrapping

_SIDE = 12


def _bytes(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Returns smooth images (N, 1, 12, 12), uint8, with a spot in one of four places, and that."""
    chance = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (count,), generator=chance)
    grid = torch.linspace(0, 1, _SIDE)
    rows, columns = (0.3 + 0.4 * (y // 2).float(), 0.3 + 0.4 * (y % 2).float())
    rows, columns = (t + 0.12 * torch.randn(count, generator=chance) for t in (rows, columns))
    far = (grid[None, :, None] - rows[:, None, None]) ** 2
    far = far + (grid[None, None] - columns[:, None, None]) ** 2
    spot = (230 * torch.exp(-18 * far) + 12 * torch.rand(far.shape, generator=chance))[:, None]
    return spot.clamp(0, 255).to(torch.uint8), y


def _brighter(images: Tensor, *, wraps: bool) -> Tensor:
    chance = torch.Generator().manual_seed(5)
    up = torch.randint(0, 140, (len(images), 1, 1, 1), generator=chance)
    if wraps:
        return images + up.to(torch.uint8)
    return (images.int() + up).clamp(0, 255).to(torch.uint8)


def _ready(images: Tensor) -> Tensor:
    return (images.float() / 255 - 0.3) / 0.35


@pytest.mark.parametrize("wraps", [True, False])
def test_values_that_run_over_their_range_are_named(wraps: bool) -> None:
    torch.manual_seed(0)
    (images, y), (held, held_y) = _bytes(1024, seed=0), _bytes(256, seed=1)
    x, held_x = _ready(_brighter(images, wraps=wraps)), _ready(held)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(200, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    with ravine.Monitor(model, optimizer) as monitor:
        for step in range(64):
            part = slice(64 * (step % 16), 64 * (step % 16) + 64)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[part]), y[part])
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
            if step % 16 == 15:
                with torch.no_grad():
                    value = F.cross_entropy(model(held_x), held_y)
                monitor.record(loss=value, split="validation")

    named = [one for one in monitor.findings if "joined to its beginning" in one.seen]
    assert [one.code for one in named] == (["validation-prepared-differently"] if wraps else [])


def test_a_wrapped_range_is_smoother_as_a_circle_and_a_bright_one_is_not() -> None:
    images, held = _bytes(256, seed=0)[0], _bytes(256, seed=1)[0]
    plain = ((_ready(held),), {})

    wrapped = wrapping(((_ready(_brighter(images, wraps=True)),), {}), plain)
    clamped = wrapping(((_ready(_brighter(images, wraps=False)),), {}), plain)

    assert wrapped is not None
    assert clamped is not None
    assert wrapped[0] < 0.8 * clamped[0]
    assert abs(wrapped[1] - clamped[1]) < 0.05
