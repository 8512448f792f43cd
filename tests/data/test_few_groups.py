"""Splits of few groups, of classes with one image, and groups that stand in file names."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.core.errors import DataError, SettingError
from ravine.data.name_groups import matched_names
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.data.split import split_images

Tree = Callable[..., Path]


def split(
    labels: Sequence[int], groups: Sequence[str], *, share: float = 0.1, seed: int = 0
) -> dict[str, np.ndarray]:
    classes = [f"class {k}" for k in range(max(labels) + 1)]
    return split_images(
        np.asarray(labels),
        np.ones(len(labels), bool),
        [group.encode() for group in groups],
        (),
        share=share,
        seed=seed,
        classes=classes,
    )


def held_groups(found: dict[str, np.ndarray], groups: Sequence[str]) -> list[str]:
    sides = [{groups[i] for i in found[name]} for name in ("train", "validation")]
    assert not sides[0] & sides[1]
    return sorted(sides[1])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("patients", [2, 3, 4, 5])
def test_one_whole_patient_of_a_few_is_held_out(patients: int, seed: int) -> None:
    labels = [i % 4 for i in range(400)]
    groups = [f"p{(i // 4) % patients}" for i in range(400)]
    found = split(labels, groups, seed=seed)
    (held,) = held_groups(found, groups)
    assert len(found["validation"]) == groups.count(held)
    assert set(np.asarray(labels)[found["validation"]]) == {0, 1, 2, 3}


@pytest.mark.parametrize("stray", [1, 3])
def test_a_stray_group_of_a_few_rows_is_no_validation(stray: int) -> None:
    labels = [i % 4 for i in range(400)] + [0] * stray
    groups = [f"p{(i // 4) % 3}" for i in range(400)] + ["stray"] * stray
    (held,) = held_groups(split(labels, groups), groups)
    assert held != "stray"


def test_never_more_than_half_is_held_out_where_a_smaller_group_could_be() -> None:
    labels = [i % 2 for i in range(100)]
    groups = ["most"] * 90 + ["few"] * 10
    assert held_groups(split(labels, groups, share=0.3), groups) == ["few"]


def test_each_class_has_validation_where_each_has_groups_of_its_own() -> None:
    labels = [k for k in range(3) for _ in range(60)]
    groups = [f"{k}-{i % 2}" for k in range(3) for i in range(60)]
    found = split(labels, groups)
    assert [name[0] for name in held_groups(found, groups)] == ["0", "1", "2"]
    assert np.bincount(np.asarray(labels)[found["train"]]).tolist() == [30, 30, 30]


def test_a_group_with_all_images_of_a_class_is_trained_on() -> None:
    labels = [0] * 30 + [1] * 30 + [2] * 10
    groups = [f"p{i % 2}" for i in range(60)] + ["p0"] * 10
    assert held_groups(split(labels, groups), groups) == ["p1"]


@given(
    st.lists(st.integers(0, 3), min_size=20, max_size=120),
    st.integers(2, 6),
    st.integers(0, 20),
    st.sampled_from([0.05, 0.1, 0.3]),
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_groups_no_class_goes_without_training_and_none_is_cut(
    labels: list[int], count: int, seed: int, share: float
) -> None:
    labels = [*labels, *range(max(labels) + 1)]
    groups = [f"{(7 * i * i + seed) % count}" for i in range(len(labels))]
    found = split(labels, groups, share=share, seed=seed)
    assert set(np.asarray(labels)[found["train"]]) == set(labels)
    assert sorted(np.concatenate(list(found.values()))) == list(range(len(labels)))
    if "validation" in found:
        held_groups(found, groups)
    else:  # then each group has all images of a class
        members = [{i for i, g in enumerate(groups) if g == name} for name in set(groups)]
        whole = [{i for i, label in enumerate(labels) if label == k} for k in set(labels)]
        assert all(any(w <= m for w in whole) or 2 * len(m) > len(labels) for m in members)


def test_a_split_that_was_right_is_the_same_as_ever() -> None:
    # The indices that the rule of version 0 gives, written down here again in its own words.
    labels = np.arange(300) % 3
    groups = [f"{i % 60}".encode() for i in range(300)]
    order = sorted(set(groups), key=lambda who: hashlib.sha256(b"5/" + who).digest())
    taken, held = np.zeros(3), []
    for who in order:
        inside = [i for i in range(300) if groups[i] == who]
        adds = np.bincount(labels[inside], minlength=3)
        main = int(adds.argmax())
        if taken[main] + adds[main] / 2 <= 10 and taken[main] < 10:
            held += inside
            taken += adds
    found = split(labels.tolist(), [group.decode() for group in groups], seed=5)
    assert found["validation"].tolist() == sorted(held)


def test_classes_with_one_image_are_trained_on_and_told(tree: Tree) -> None:
    root = tree({"a": 20, "b": 20, **dict.fromkeys("cdefghijkl", 1)})
    found = open_dataset(DataSettings(data=str(root), validation=0.2), seed=0)
    held = np.bincount(found.labels[found.splits["validation"]], minlength=12)
    assert held.tolist() == [4, 4] + [0] * 10
    assert set(found.labels[found.splits["train"]]) == set(range(12))
    (note,) = found.audit["split_notes"]
    assert note.startswith("10 classes have one image only, trained on and in no validation: 'c'")


def test_two_tracks_a_class_are_split_by_the_name_before_the_underscore(tree: Tree) -> None:
    root = tree({"stop": 30, "yield": 30})
    for folder in root.iterdir():
        for path in list(folder.iterdir()):
            number = int(path.stem)
            track = "00007" if number < 15 else "00011"
            path.rename(folder / f"{track}_{number:05d}.png")
    asked = [{"group_from_name": "_"}, {"group_from_name": r"^(\d+)_"}]
    opened = [open_dataset(DataSettings.of({"data": str(root), **one}), seed=0) for one in asked]
    for found in opened:
        sides = [
            {found.names[i].split("/")[1][:5] for i in found.splits[name]}
            for name in ("train", "validation")
        ]
        assert [len(side) for side in sides] == [1, 1]
        assert not sides[0] & sides[1]
        assert found.audit["split_notes"][0].startswith(
            "1 of 2 groups held out for validation, 50 % of the images: "
        )
    assert opened[0].fingerprint == opened[1].fingerprint


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(a", "no regular expression"),
        (r"^\d+_", "0 groups in parentheses"),
        (r"(\d+)_(\d+)", "2 groups in parentheses"),
        ("(a{99999999999})", "no regular expression"),
        ("(" + "x" * 300 + ")", "302 letters"),
    ],
)
def test_a_bad_pattern_is_refused_in_one_line(pattern: str, told: str) -> None:
    with pytest.raises(SettingError, match="group_from_name") as refused:
        DataSettings.of({"data": "x", "group_from_name": pattern})
    assert told in str(refused.value)
    assert len(str(refused.value)) <= 250
    assert "\n" not in str(refused.value)


def test_a_name_that_does_not_fit_is_named() -> None:
    with pytest.raises(DataError, match=r"1 of 2 file names, such as 'b\.png'"):
        matched_names(["x/1_a.png", "x/b.png"], r"^(\d+)_", "group_from_name")


def test_a_pattern_that_would_never_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ravine.data.name_groups._SECONDS", 1.0)
    with pytest.raises(DataError, match="not matched in 1 s"):
        matched_names(["a" * 60 + "!.png"], r"^((?:a|aa|a)+)$", "group_from_name")


def test_two_kinds_of_groups_are_refused() -> None:
    with pytest.raises(SettingError, match="exclude each other"):
        DataSettings.of({"data": "x", "group_from_name": "_", "group_column": "patient"})
