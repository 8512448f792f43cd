"""Whether mirrored images of one class look like another: answers counted, and pictures asked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ravine.data.augment_settings import AugmentSettings
from ravine.data.dataset import Dataset
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.training.mirror_probe import find_mirrored_pair, swapped_pair
from ravine.workflows.augmentation import with_augmentation
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session


def answers(truth: np.ndarray, flipped: dict[int, int], wrong: float, seed: int = 0) -> np.ndarray:
    """Returns one answer an image, (N, K): the class, or what it is flipped to, some at random."""
    rng = np.random.default_rng(seed)
    said = np.array([flipped.get(int(label), int(label)) for label in truth])
    odd = rng.random(len(said)) < wrong
    said[odd] = rng.integers(0, truth.max() + 1, odd.sum())
    return np.eye(truth.max() + 1, dtype=bool)[said]


def rows(truth: np.ndarray) -> np.ndarray:
    return np.eye(truth.max() + 1, dtype=bool)[truth]


TRUTH = np.arange(240) % 4


def test_classes_that_mirroring_swaps_are_found_with_their_shares() -> None:
    plain = answers(TRUTH, {}, wrong=0.2)
    mirrored = answers(TRUTH, {1: 3, 3: 1}, wrong=0.2, seed=1)

    found = swapped_pair(plain, mirrored, rows(TRUTH))

    assert found is not None
    assert {found.first, found.second} == {1, 3}
    of_first = found.first == TRUTH
    assert found.taken == mirrored[of_first][:, found.second].mean()
    assert found.before == plain[of_first][:, found.second].mean()


@pytest.mark.parametrize(
    "flipped",
    [
        {},  # symmetric
        {1: 3},  # one class is mirrored into another, and not the other way round
        {0: 1, 1: 2, 2: 3, 3: 0},  # unknown when mirrored: each is taken for something else
    ],
)
def test_other_classes_are_not(flipped: dict[int, int]) -> None:
    plain = answers(TRUTH, {}, wrong=0.2)
    mirrored = answers(TRUTH, flipped, wrong=0.2, seed=1)

    assert swapped_pair(plain, mirrored, rows(TRUTH)) is None


def test_answers_at_random_swap_nothing() -> None:
    for seed in range(20):
        plain = answers(TRUTH, {}, wrong=1.0, seed=2 * seed)
        mirrored = answers(TRUTH, {}, wrong=1.0, seed=2 * seed + 1)
        assert swapped_pair(plain, mirrored, rows(TRUTH)) is None


def test_labels_of_two_sides_are_swapped_where_an_image_has_several() -> None:
    truth = np.random.default_rng(0).random((200, 3)) < 0.4

    found = swapped_pair(truth, truth[:, [1, 0, 2]], truth)

    assert found is not None
    assert {found.first, found.second} == {0, 1}
    assert found.taken == 1.0
    assert swapped_pair(truth, truth, truth) is None


def painted(folder: Path, kinds: tuple[str, ...], count: int = 60) -> Dataset:
    """Returns pictures of wedges that point left, right or up, at random positions."""
    points = {"left": (0, 5, 9, 0, 9, 10), "right": (9, 5, 0, 0, 0, 10), "up": (5, 0, 0, 9, 10, 9)}
    rng = np.random.default_rng(0)
    for name, kind in zip(("ka", "lo", "mi"), kinds, strict=False):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.fromarray(rng.integers(0, 60, (20, 20), dtype=np.uint8))
            dx, dy = rng.integers(0, 10, 2).tolist()
            shape = [v + (dx, dy)[k % 2] for k, v in enumerate(points[kind])]
            ImageDraw.Draw(picture).polygon(shape, fill=int(rng.integers(130, 255)))
            picture.save(folder / name / f"{number}.png")
    return open_dataset(DataSettings(data=str(folder)), seed=0)


@pytest.mark.usefixtures("own_cache")
def test_arrows_are_not_flipped_by_default_whatever_their_classes_are_called(
    tmp_path: Path,
) -> None:
    dataset = painted(tmp_path / "arrows", ("left", "right"))
    told: list[str] = []
    session = Session(observers=[lambda notice: told.append(notice.text)])  # type: ignore[union-attr]

    chosen = with_augmentation(Recipe(), dataset, session)

    assert chosen.augment == "crop"
    assert "mirror images of" in told[0]
    assert told[0].endswith("(--augment flip,crop adds it)")
    again = with_augmentation(chosen, dataset, session)
    assert (again.augment, len(told)) == ("crop", 2)


@pytest.mark.usefixtures("own_cache")
def test_symmetric_classes_are_flipped_and_no_random_state_is_used(tmp_path: Path) -> None:
    dataset = painted(tmp_path / "signs", ("up", "left"), count=40)
    before = torch.random.get_rng_state()

    assert find_mirrored_pair(dataset, seed=0) is None

    assert torch.equal(torch.random.get_rng_state(), before)
    assert with_augmentation(Recipe(), dataset, Session()).augment == "flip,crop"


@pytest.mark.usefixtures("own_cache")
def test_a_short_budget_is_not_spent_on_mirror_images_and_the_reason_says_so(
    tmp_path: Path,
) -> None:
    dataset = painted(tmp_path / "arrows", ("left", "right"), count=40)
    told: list[str] = []
    session = Session(observers=[lambda notice: told.append(notice.text)])  # type: ignore[union-attr]

    short = with_augmentation(Recipe(budget=39.0), dataset, session)
    long = [with_augmentation(Recipe(budget=b), dataset, session).augment for b in (40.0, 6e3)]

    assert (short.augment, *long) == ("flip,crop", "crop", "crop")
    assert told[0].endswith("mirror images are not compared in a budget below 40 s")


@pytest.mark.usefixtures("own_cache")
def test_large_arrows_are_found_as_small_ones_are(tmp_path: Path) -> None:
    dataset = painted(tmp_path / "arrows", ("left", "right"))
    large = replace(dataset, images=np.repeat(np.repeat(dataset.images[:], 5, 1), 5, 2))

    found = find_mirrored_pair(large, seed=0)

    assert found is not None
    assert found.taken > 0.5


def test_what_is_named_is_not_asked_about() -> None:
    assert not AugmentSettings(augment="flip").is_left_to_ravine
    assert AugmentSettings(augment=" Auto ").is_left_to_ravine
