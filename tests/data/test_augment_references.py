"""Each operation against a slow loop over images and pixels, with the same random numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ravine.data.augment_operations import colour_jitter, cutout, flip_and_crop, random_erasing
from ravine.data.augment_settings import AugmentSettings
from ravine.data.batches import TrainingBatches
from ravine.data.dataset import Dataset, Preprocessing

seeds = st.integers(0, 999)
both_channels = st.sampled_from([1, 3])


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _bytes(seed: int, channels: int, size: tuple[int, int] = (7, 9)) -> Tensor:
    shape = (5, channels, *size)
    return torch.randint(0, 256, shape, generator=_generator(seed + 5000), dtype=torch.uint8)


@given(seeds, both_channels, st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_flip_and_crop_is_mirror_pad_and_cut(seed: int, channels: int, padding: int) -> None:
    images = _bytes(seed, channels)
    generator = _generator(seed)
    down, right = (torch.randint(2 * padding + 1, (5,), generator=generator) for _ in range(2))
    mirrored = torch.rand(5, generator=generator) < 0.5
    moved = flip_and_crop(images, _generator(seed), flips=True, padding=padding).numpy()
    wide = ((0, 0), (padding, padding), (padding, padding))
    for index, before in enumerate(images.numpy()):
        top, left = int(down[index]), int(right[index])
        cut = np.pad(before, wide, mode="reflect")[:, top : top + 7, left : left + 9]
        expected = cut[:, :, ::-1] if mirrored[index] else cut
        np.testing.assert_array_equal(moved[index], expected)


@given(seeds, both_channels, st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_cutout_is_a_square_around_the_drawn_pixel(seed: int, channels: int, size: int) -> None:
    images = _bytes(seed, channels).float() + 1
    generator = _generator(seed)
    tops = torch.randint(7, (5,), generator=generator) - size // 2
    lefts = torch.randint(9, (5,), generator=generator) - size // 2
    expected = images.clone()
    for index in range(5):
        for y in range(7):
            for x in range(9):
                if 0 <= y - tops[index] < size and 0 <= x - lefts[index] < size:
                    expected[index, :, y, x] = 0
    assert torch.equal(cutout(images, _generator(seed), size=size), expected)


@given(seeds, both_channels, st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_jitter_scales_brightness_contrast_and_saturation(
    seed: int, channels: int, strength: float
) -> None:
    images = _bytes(seed, channels).float() / 255
    generator = _generator(seed)
    draws = [torch.rand(5, generator=generator).double().numpy() for _ in range(3)]
    found = colour_jitter(images, _generator(seed), strength=strength).double().numpy()
    for index, before in enumerate(images.double().numpy()):
        brightness, contrast, saturation = (1 + strength * (2 * d[index] - 1) for d in draws)
        image = before * brightness
        image = image.mean() + contrast * (image - image.mean())
        if channels == 3:
            for y in range(7):
                for x in range(9):
                    grey = image[:, y, x].mean()
                    image[:, y, x] = grey + saturation * (image[:, y, x] - grey)
        np.testing.assert_allclose(found[index], image.clip(0, 1), atol=2e-6)


@given(seeds, both_channels)
@settings(max_examples=25, deadline=None)
def test_erasing_is_one_box_of_the_drawn_area_and_aspect(seed: int, channels: int) -> None:
    height, width = 14, 17
    images = torch.full((40, channels, height, width), 99.0)
    generator = _generator(seed)
    chosen, share, shape = (torch.rand(40, generator=generator) for _ in range(3))
    erased = random_erasing(images, _generator(seed), probability=0.6) != 99.0
    for index in range(40):
        hole = erased[index, 0].numpy()
        assert all(np.array_equal(hole, other) for other in erased[index].numpy())
        if chosen[index] >= 0.6:
            assert not hole.any()
            continue
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        area = (0.02 + 0.38 * float(share[index])) * height * width
        aspect = 0.3 ** (2 * float(shape[index]) - 1)
        assert abs(len(rows) - min((area * aspect) ** 0.5, height)) <= 0.5 + 1e-3
        assert abs(len(columns) - min((area / aspect) ** 0.5, width)) <= 0.5 + 1e-3


def _coverage(side: int) -> np.ndarray:
    """Returns how often a pixel is erased if all positions of the box are equally probable."""
    total = np.zeros((side, side))
    grid = (np.arange(60) + 0.5) / 60
    pixels = np.arange(side)
    for area in (0.02 + 0.38 * grid) * side * side:
        for aspect in 0.3 ** (2 * grid - 1):
            inside = []
            for length in ((area * aspect) ** 0.5, (area / aspect) ** 0.5):
                box = int(np.clip(np.round(length), 1, side))
                starts = np.arange(side - box + 1)[:, None]
                inside.append(((pixels >= starts) & (pixels < starts + box)).mean(0))
            total += np.outer(*inside)
    return total / len(grid) ** 2


def test_erasing_puts_boxes_everywhere_alike_and_fills_them_with_noise() -> None:
    images = torch.full((3000, 1, 12, 12), 99.0)
    found = random_erasing(images, _generator(0), probability=1.0)
    erased = found != 99.0
    # A share's standard error is at most 0.01 here.
    found_share = erased.float().mean((0, 1)).numpy()
    np.testing.assert_allclose(found_share, _coverage(12), atol=0.04)
    np.testing.assert_allclose(found_share[::11, ::11], _coverage(12)[::11, ::11], atol=0.012)
    noise = found[erased]
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)


def test_erasing_fills_bytes_with_all_bytes_alike() -> None:
    images = torch.full((500, 3, 16, 16), 7, dtype=torch.uint8)
    found = random_erasing(images, _generator(0), probability=1.0)
    noise = found[found != 7].float()
    assert found.dtype == torch.uint8
    assert float(noise.mean()) == pytest.approx(127.5, abs=1.5)
    assert set(noise.unique().tolist()) == set(range(256)) - {7}


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_of_bytes_is_jitter_of_values(channels: int) -> None:
    images = _bytes(0, channels)
    found = colour_jitter(images, _generator(1), strength=0.7)
    expected = colour_jitter(images.float() / 255, _generator(1), strength=0.7)
    assert found.dtype == torch.uint8
    torch.testing.assert_close(found.float() / 255, expected, atol=0.5 / 255 + 1e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_layout_in_memory_changes_no_value(channels: int) -> None:
    plain = _bytes(0, channels).float() / 255
    last = plain.contiguous(memory_format=torch.channels_last)
    for name, change in {
        "flip_and_crop": lambda x: flip_and_crop(x, _generator(1), flips=True, padding=3),
        "cutout": lambda x: cutout(x, _generator(1), size=3),
        "erasing": lambda x: random_erasing(x, _generator(1), probability=0.7),
    }.items():
        assert torch.equal(change(plain), change(last)), name
    jittered = [colour_jitter(x, _generator(1), strength=0.5) for x in (plain, last)]
    torch.testing.assert_close(*jittered)


def test_images_are_not_changed_in_place() -> None:
    images = torch.rand(6, 3, 8, 8)
    before = images.clone()
    flip_and_crop(images, _generator(0), flips=True, padding=2)
    cutout(images, _generator(0), size=3)
    random_erasing(images, _generator(0), probability=1.0)
    colour_jitter(images, _generator(0), strength=1.0)
    assert torch.equal(images, before)


@given(
    count=st.integers(2, 40),
    batch=st.integers(1, 50),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_an_epoch_sees_no_image_twice_and_leaves_out_less_than_a_batch(
    count: int, batch: int, seed: int, epoch: int
) -> None:
    images = np.broadcast_to(
        np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 4, 4, 1)
    )
    dataset = Dataset(
        images=images.copy(),
        labels=np.arange(count) % 2,
        classes=("even", "odd"),
        splits={"train": np.arange(1, count)},
        names=[],
        preprocessing=Preprocessing(image_size=4, channels=1, mean=(0.0,), std=(1 / 255,)),
        audit={},
        fingerprint="",
    )
    batches = TrainingBatches(
        dataset, AugmentSettings(), batch=batch, seed=seed, device=torch.device("cpu")
    )
    first = epoch * batches.steps_per_epoch
    seen: list[int] = []
    for step in range(first, first + batches.steps_per_epoch):
        found = batches.batch_at(step)
        who = found.images[:, 0, 0, 0].round().long()
        assert torch.equal(found.labels, who % 2)
        seen += who.tolist()
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(1, count))
    assert count - 1 - len(seen) < min(batch, count - 1)
