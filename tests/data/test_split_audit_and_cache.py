import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.core.errors import DataError
from ravine.data.duplicates import without_leakage
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.data.split import split_images

Tree = Callable[..., Path]


def _open(data: Path, **settings: object):  # type: ignore[no-untyped-def]
    return open_dataset(DataSettings.of({"data": str(data), **settings}), seed=0)


@given(
    st.lists(st.integers(2, 60), min_size=2, max_size=5),
    st.floats(0.05, 0.5),
    st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_a_split_is_stratified_disjoint_and_complete(
    counts: list[int], share: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    identity = [b"%d" % i for i in range(len(labels))]
    usable = np.ones(len(labels), bool)
    names = [str(k) for k in range(len(counts))]
    splits = split_images(labels, usable, identity, (), share=share, seed=seed, classes=names)
    both = np.concatenate([splits["train"], splits["validation"]])
    assert sorted(both) == list(range(len(labels)))
    held = np.bincount(labels[splits["validation"]], minlength=len(counts))
    for count, got in zip(counts, held, strict=True):
        assert 1 <= got < count
        assert abs(got - share * count) <= 1


@given(st.integers(0, 500), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_images_of_one_identity_stay_on_one_side(seed: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    identity = [b"%d" % g for g in rng.integers(0, 5 * groups + 3, 60)]
    splits = split_images(
        labels, np.ones(60, bool), identity, (), share=0.2, seed=seed, classes=list("abc")
    )
    sides = [{identity[i] for i in index} for index in splits.values()]
    assert len(sides) == 1 or not sides[0] & sides[1]
    assert set(labels[splits["train"]]) == {0, 1, 2}


def test_a_new_image_moves_few_others() -> None:
    labels = np.zeros(1000, np.int64)
    labels[500:] = 1
    identity = [b"%d" % i for i in range(1000)]
    ones = np.ones(1000, bool)
    before = split_images(labels, ones, identity, (), share=0.1, seed=3, classes="ab")
    after = split_images(
        np.append(labels, 1),
        np.ones(1001, bool),
        [*identity, b"new"],
        (),
        share=0.1,
        seed=3,
        classes="ab",
    )
    moved = set(before["validation"]) ^ set(after["validation"])
    assert len(moved - {1000}) <= 2
    other = split_images(labels, ones, identity, (), share=0.1, seed=4, classes="ab")
    assert len(set(before["validation"]) ^ set(other["validation"])) > 100


def test_leaked_images_are_kept_out_of_validation_and_named_in_test() -> None:
    digests = np.arange(10, dtype=np.uint8)[:, None].repeat(16, 1)
    digests[7] = digests[1]
    digests[9] = digests[2]
    splits = {"train": np.arange(6), "validation": np.array([6, 7]), "test": np.array([8, 9])}
    changed, leakage = without_leakage(splits, digests)
    assert changed["validation"].tolist() == [6]
    assert changed["test"].tolist() == [8, 9]
    assert (leakage.kept_out, leakage.in_test) == ([(7, 1)], [(9, 2)])


def test_the_audit_names_what_is_wrong(tree: Tree) -> None:
    root = tree({"train/a": 12, "train/b": 3, "val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2})
    (root / "train/a/empty.jpg").write_bytes(b"")
    (root / "train/a/text.png").write_text("no picture")
    shutil.copy(root / "train/a/000.png", root / "val/a/copy.png")
    shutil.copy(root / "train/a/001.png", root / "test/a/copy.png")
    shutil.copy(root / "train/a/002.png", root / "train/b/copy.png")
    found = _open(root)
    audit = found.audit
    assert {row["name"]: row["reason"] for row in audit["unreadable"]} == {
        "train/a/empty.jpg": "the file is empty",
        "train/a/text.png": "not an image that Pillow can read",
    }
    assert audit["duplicates"]["groups"] == 3
    assert audit["leakage"]["images"] == 2
    assert "1 kept out of validation" in audit["leakage"]["action"]
    assert "val/a/copy.png" not in [found.names[i] for i in found.splits["validation"]]
    assert audit["conflicts"] == [
        {"names": ["train/a/002.png", "train/b/copy.png"], "labels": ["a", "b"]}
    ]
    assert audit["imbalance"]["ratio"] == 3.0
    assert "--balance" in audit["imbalance"]["advice"]
    assert audit["classes"][0] == {"name": "a", "counts": {"train": 12, "validation": 2, "test": 3}}
    used = np.concatenate(list(found.splits.values()))
    assert not any(found.names[i].endswith(("empty.jpg", "text.png")) for i in used)


def test_a_class_whose_images_are_all_unreadable_is_reported(tree: Tree) -> None:
    root = tree({"a": 5, "b": 2})
    for path in (root / "b").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(DataError, match=r"class 'b' has no readable image; .*000\.png': not an"):
        _open(root)


def test_the_cache_is_used_until_a_file_changes(tree: Tree, own_cache: Path) -> None:
    root = tree({"a": 5, "b": 5})
    assert not _open(root).audit["cached"]
    again = _open(root)
    assert again.audit["cached"]
    shutil.copy(root / "b/000.png", root / "a/000.png")
    changed = _open(root)
    assert not changed.audit["cached"]
    assert changed.fingerprint != again.fingerprint
    assert not _open(root, image_size=16).audit["cached"]


def test_a_torn_cache_is_built_anew(tree: Tree, own_cache: Path) -> None:
    root = tree({"a": 5, "b": 5})
    first = _open(root)
    images = next(own_cache.glob("*/images.npy"))
    expected, fingerprint = first.images.copy(), first.fingerprint
    images.write_bytes(images.read_bytes()[:500])
    again = _open(root)
    assert not again.audit["cached"]
    assert again.fingerprint == fingerprint
    assert np.array_equal(again.images, expected)


def test_without_the_cache_nothing_is_left(
    tree: Tree, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    found = _open(tree({"a": 5, "b": 5}), cache=False)
    assert found.images.shape == (10, 12, 12, 3)
    del found
    assert list(own_cache.iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
def test_two_builders_at_once_do_each_other_no_harm(tree: Tree, own_cache: Path) -> None:
    root = tree({"a": 600, "b": 600}, size=8)
    code = (
        "import sys\n"
        "from ravine.data.opening import open_dataset\n"
        "from ravine.data.settings import DataSettings\n"
        "print(open_dataset(DataSettings(data=sys.argv[1]), seed=0).fingerprint)\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    prints = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert prints[0] == prints[1] != ""
    assert [path.name.startswith(".") for path in own_cache.iterdir()] == [False]


def test_decoding_by_processes_gives_the_same_as_in_one(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree({"a": 20, "b": 20})
    (root / "b/bad.png").write_bytes(b"bad")
    one = _open(root, cache=False)
    monkeypatch.setattr("ravine.data.cache_writer._FEW", 4)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    many = _open(root, cache=False)
    assert np.array_equal(one.images, many.images)
    assert one.fingerprint == many.fingerprint
    assert one.audit["unreadable"] == many.audit["unreadable"]


def test_a_cache_that_cannot_be_written_is_reported_with_the_remedy(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set RAVINE_CACHE to another folder, or use --no-cache"):
        _open(tree({"a": 3, "b": 3}))
