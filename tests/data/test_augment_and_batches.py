import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.core.errors import SettingError
from ravine.data.augment_operations import colour_jitter, cutout, flip_and_crop, random_erasing
from ravine.data.augment_settings import AugmentSettings, choose_operations
from ravine.data.batches import TrainingBatches, class_weights, evaluation_batches
from ravine.data.dataset import Dataset, Preprocessing
from ravine.data.mixing import cutmix, mix, mixup


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(0, 999), st.integers(1, 4), st.sampled_from([1, 3]))
@settings(max_examples=30, deadline=None)
def test_flip_and_crop_is_numpy_reflect_pad_and_cut(seed: int, padding: int, channels: int) -> None:
    images = torch.randint(
        0, 256, (6, channels, 7, 9), generator=_generator(seed), dtype=torch.uint8
    )
    moved = flip_and_crop(images, _generator(seed), flips=True, padding=padding)
    for before, after in zip(images.numpy(), moved.numpy(), strict=True):
        wide = ((0, 0), (padding, padding), (padding, padding))
        candidates = []
        for picture in (before, before[:, :, ::-1]):
            padded = np.pad(picture, wide, mode="reflect")
            for y in range(2 * padding + 1):
                for x in range(2 * padding + 1):
                    candidates.append(padded[:, y : y + 7, x : x + 9])
        assert any(np.array_equal(after, c) for c in candidates)


def test_flips_and_moves_are_evenly_spread() -> None:
    ramp = torch.arange(100, dtype=torch.float32).view(1, 1, 10, 10).expand(4000, 1, 10, 10)
    moved = flip_and_crop(ramp, _generator(), flips=True, padding=2)
    middle = moved[:, 0, 5, 5]
    values, counts = middle.unique(return_counts=True)
    assert len(values) == 30  # 5 rows, 6 columns seen from both directions
    assert counts.min() > 60
    unflipped = flip_and_crop(ramp, _generator(), flips=False, padding=0)
    assert torch.equal(unflipped, ramp)


@given(st.integers(0, 999), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_cutout_makes_one_square_hole_that_edges_may_cut_off(seed: int, size: int) -> None:
    holes = cutout(torch.ones(20, 2, 10, 12), _generator(seed), size=size) == 0
    for hole in holes[:, 0].numpy():
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert len(rows) <= size
        assert len(columns) <= size
        assert len(rows) == size or rows[0] == 0 or rows[-1] == 9
        assert len(columns) == size or columns[0] == 0 or columns[-1] == 11


def test_random_erasing_takes_its_share_of_images_and_of_area() -> None:
    images = torch.full((3000, 1, 16, 16), 9.0)
    erased = random_erasing(images, _generator(), probability=0.4) != 9.0
    touched = erased.flatten(1).any(1)
    assert float(touched.float().mean()) == pytest.approx(0.4, abs=0.03)
    area = erased[touched].float().mean((1, 2, 3))
    assert area.min() > 0.005
    assert area.max() <= 0.5
    assert float(area.mean()) == pytest.approx(0.21, abs=0.03)


def test_jitter_of_strength_0_changes_nothing_and_stays_in_range() -> None:
    images = torch.rand(8, 3, 5, 5, generator=_generator())
    torch.testing.assert_close(colour_jitter(images, _generator(), strength=0.0), images)
    for channels in (1, 3):
        strong = colour_jitter(torch.rand(50, channels, 5, 5), _generator(), strength=1.0)
        assert strong.min() >= 0
        assert strong.max() <= 1


@given(st.integers(0, 999), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_cutmix_targets_are_the_areas_as_they_are(
    seed: int, share: float, y: float, x: float
) -> None:
    labels = torch.tensor([0, 1, 2, 3])
    images = labels.float().view(4, 1, 1, 1).expand(4, 1, 9, 11).clone()
    mixed, targets = cutmix(images, labels, 4, lam=share, centre=(y, x))
    for index in range(4):
        for label in range(4):
            area = float((mixed[index] == label).float().mean())
            assert float(targets[index, label]) == pytest.approx(area, abs=1e-5)


def test_mixup_mixes_images_and_targets_alike() -> None:
    labels = torch.tensor([0, 1, 2])
    images = torch.randn(3, 1, 2, 2, generator=_generator())
    mixed, targets = mixup(images, labels, 3, lam=0.7)
    torch.testing.assert_close(mixed[0], 0.7 * images[0] + 0.3 * images[2])
    torch.testing.assert_close(targets[0], torch.tensor([0.7, 0.0, 0.3]))


def test_both_mixings_take_turns() -> None:
    images = torch.arange(2 * 64.0).view(2, 1, 8, 8)
    kinds = set()
    for seed in range(30):
        mixed, targets = mix(
            images, torch.tensor([0, 1]), 2, mixup_alpha=1.0, cutmix_alpha=1.0, seed=seed
        )
        torch.testing.assert_close(targets.sum(1), torch.ones(2))
        kinds.add(bool(torch.isin(mixed, images).all()))
    assert kinds == {True, False}


@pytest.mark.parametrize(
    ("classes", "flips"),
    [
        (["cat", "dog"], True),
        (["T-shirt/top", "Trouser"], True),
        ([str(n) for n in range(10)], False),
        (["A", "B", "c"], False),
        (["zero", "one", "two"], False),
        (["turn_left", "turn_right"], False),
        (["bright", "dark"], True),
    ],
)
def test_flips_are_chosen_where_they_cannot_change_the_class(
    classes: list[str], flips: bool
) -> None:
    operations, reason = choose_operations(AugmentSettings(), classes=classes)
    assert ("flip" in operations) == flips
    assert "augmentation:" in reason
    assert choose_operations(AugmentSettings(augment="Flip, cutout"), classes=classes)[0] == (
        "flip",
        "cutout",
    )
    assert choose_operations(AugmentSettings(augment="none"), classes=classes)[0] == ()


def test_an_unknown_operation_names_the_nearest() -> None:
    with pytest.raises(SettingError, match="did you mean 'cutout'"):
        AugmentSettings.of({"augment": "flip,cutuot"})


def _dataset(count: int = 50, size: int = 6, channels: int = 1) -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(count)
    labels = (np.arange(count) % 10 == 0).astype(np.int64)
    return Dataset(
        images=images,
        labels=labels,
        classes=("many", "few"),
        splits={"train": np.arange(5, count)},
        names=[str(n) for n in range(count)],
        preprocessing=Preprocessing(
            image_size=size,
            channels=channels,
            mean=(0.5, 0.4, 0.3)[:channels],
            std=(0.25, 0.2, 0.3)[:channels],
        ),
        audit={},
        fingerprint="",
    )


def _batches(batch: int = 8, balance: str = "none", **settings: object) -> TrainingBatches:
    return TrainingBatches(
        _dataset(),
        AugmentSettings.of({"augment": "none", **settings}),
        batch=batch,
        seed=1,
        device=torch.device("cpu"),
        balance=balance,
    )


def _who(images: torch.Tensor) -> list[int]:
    return ((images[:, 0, 0, 0] * 0.25 + 0.5) * 255).round().int().tolist()


def test_an_epoch_sees_every_image_once_in_an_order_of_its_own() -> None:
    batches = _batches(batch=9)
    epochs = [
        [who for step in range(5) for who in _who(batches.batch_at(5 * epoch + step).images)]
        for epoch in range(2)
    ]
    for seen in epochs:
        assert sorted(seen) == list(range(5, 50))
    assert epochs[0] != epochs[1]


def test_a_batch_is_a_function_of_its_step_alone() -> None:
    settings = {"augment": "flip,crop,jitter,cutout,erase", "mixup": 0.3, "cutmix": 0.5}
    one, two = _batches(**settings), _batches(**settings)
    forwards = [one.batch_at(step) for step in range(12)]
    for step in reversed(range(12)):
        again = two.batch_at(step)
        assert torch.equal(again.images, forwards[step].images)
        assert torch.equal(again.targets, forwards[step].targets)
    assert forwards[0].images.is_contiguous(memory_format=torch.channels_last)


def test_another_augmentation_does_not_shift_the_order() -> None:
    plain, other = _batches(), _batches(augment="flip,erase", mixup=0.5)
    for step in range(6):
        assert torch.equal(plain.batch_at(step).labels, other.batch_at(step).labels)


def test_images_are_normalised_by_mean_and_std() -> None:
    dataset = _dataset()
    first = next(
        evaluation_batches(
            dataset.images,
            np.array([3, 4]),
            preprocessing=dataset.preprocessing,
            batch=8,
            device=torch.device("cpu"),
            labels=dataset.labels,
        )
    )
    expected = (dataset.images[[3, 4]].transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(first.images.numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("augment", ["none", "flip", "crop", "flip,crop,cutout", "flip,jitter"])
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_are_bit_for_bit_the_same_with_and_without_the_library(
    channels: int, augment: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> list[torch.Tensor]:
        dataset = _dataset(size=9, channels=channels)
        chosen = AugmentSettings.of({"augment": augment})
        batches = TrainingBatches(dataset, chosen, batch=7, seed=3, device=torch.device("cpu"))
        evaluated = evaluation_batches(
            dataset.images,
            np.arange(11),
            preprocessing=dataset.preprocessing,
            batch=4,
            device=torch.device("cpu"),
        )
        return [batches.batch_at(step).images for step in range(3)] + [b.images for b in evaluated]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        here = found()
        monkeypatch.setattr("ravine.data.batches.load_library", lambda: None)
        without = found()
    finally:
        torch.set_num_threads(before)
    for one, other in zip(here, without, strict=True):
        assert torch.equal(one, other)
        assert one.is_contiguous(memory_format=torch.channels_last)


def test_balance_by_sample_draws_classes_equally_often() -> None:
    batches = _batches(batch=40, balance="sample")
    labels = torch.cat([batches.batch_at(step).labels for step in range(60)])
    assert float(labels.float().mean()) == pytest.approx(0.5, abs=0.05)


def test_class_weights_make_every_class_count_alike() -> None:
    labels = np.array([0] * 90 + [2] * 10)
    weights = class_weights(labels, 3)
    assert weights[1] == 0
    assert float(weights[0] * 90) == pytest.approx(float(weights[2] * 10))


def test_fewer_images_than_a_batch_make_one_small_batch() -> None:
    batches = _batches(batch=500)
    assert batches.steps_per_epoch == 1
    assert len(batches.batch_at(0).labels) == 45
