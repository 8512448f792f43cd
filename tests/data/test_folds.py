"""Folds of cross-validation: each image held out once, groups whole, classes alike."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.core.errors import DataError, SettingError
from ravine.data.folds import assign_folds
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

Tree = Callable[..., Path]


@given(
    st.lists(st.integers(0, 3), min_size=30, max_size=90),
    st.integers(2, 7),
    st.integers(0, 50),
)
@settings(max_examples=80, deadline=None)
def test_single_images_are_spread_evenly_in_each_class(
    labels: list[int], folds: int, seed: int
) -> None:
    labels = [*labels, *range(max(labels) + 1)] * 2
    found = assign_folds(
        np.array(labels), [b"%d" % i for i in range(len(labels))], folds=folds, seed=seed
    )
    assert found.min() >= 1
    for label in set(labels):
        counts = np.bincount(found[np.array(labels) == label], minlength=folds + 1)[1:]
        assert counts.max() - counts.min() <= 1


@given(st.integers(5, 30), st.integers(2, 5), st.integers(0, 50))
@settings(max_examples=80, deadline=None)
def test_groups_are_whole_and_no_class_goes_without_training(
    groups: int, folds: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    of = np.concatenate([np.arange(groups), rng.integers(0, groups, 150)])
    labels = rng.integers(0, 3, len(of))
    found = assign_folds(labels, [b"%d" % g for g in of], folds=folds, seed=seed)
    assert all(len(set(found[of == g])) == 1 for g in range(groups))
    for fold in range(1, folds + 1):
        assert set(labels[found != fold]) == set(labels)
    kept = np.flatnonzero(found == 0)
    for group in set(of[kept]):  # only where a group has all images of a class
        inside = set(labels[of == group])
        assert any(np.isin(of[labels == k], [group]).all() for k in inside)


def test_a_class_with_one_image_is_trained_on_in_every_fold() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [2])
    found = assign_folds(labels, [b"%d" % i for i in range(21)], folds=5, seed=1)
    assert found[-1] == 0
    assert np.bincount(found).tolist() == [1, 4, 4, 4, 4, 4]


def test_more_folds_than_groups_are_refused_with_a_number_that_works() -> None:
    labels, groups = np.arange(60) % 2, [b"%d" % (i // 20) for i in range(60)]
    with pytest.raises(DataError, match=r"--folds 5: .* in 3 groups.*; take --folds 3"):
        assign_folds(labels, groups, folds=5, seed=0)
    assert np.bincount(assign_folds(labels, groups, folds=3, seed=0)).tolist() == [0, 20, 20, 20]


def test_the_folds_of_a_data_set_hold_each_image_but_the_test_once(tree: Tree) -> None:
    root = tree({"train/a": 9, "train/b": 8, "val/a": 3, "val/b": 4, "test/a": 2, "test/b": 2})
    held = []
    for fold in (1, 2, 3):
        asked = DataSettings.of({"data": str(root), "folds": 3, "fold": fold})
        found = open_dataset(asked, seed=0)
        train, validation = (set(found.splits[name].tolist()) for name in ("train", "validation"))
        test = {i for i, name in enumerate(found.names) if name.startswith("test/")}
        assert set(found.splits["test"].tolist()) == test
        assert train | validation == set(range(28)) - test
        assert not train & validation
        held += sorted(validation)
    assert sorted(held) == sorted(set(range(28)) - test)


@pytest.mark.parametrize(
    "asked", [{"fold": 2}, {"folds": 3, "fold": 4}, {"folds": 1}, {"folds": 3, "fold": 0}]
)
def test_a_fold_that_there_is_not_is_refused(asked: dict[str, int]) -> None:
    with pytest.raises(SettingError):
        DataSettings.of({"data": "x", **asked})
