"""The table of layouts: one fits, or the message names the option for each."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ravine.core.errors import DataError, RavineError, SettingError
from ravine.core.events import Event, Notice
from ravine.data.audit import report_audit
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.layouts import LAYOUTS, OPTIONS
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

Tree = Callable[..., Path]


def _find(data: Path | str, **settings: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(data), **settings}))


def _idx(folder: Path) -> None:
    for name, array in (
        ("train-images-idx3-ubyte", np.zeros((4, 9, 9), np.uint8)),
        ("train-labels-idx1-ubyte", np.array([0, 1, 0, 1], np.uint8)),
    ):
        head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (folder / name).write_bytes(head + array.tobytes())


def test_every_layout_has_a_name_of_its_own_and_known_options() -> None:
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)
    assert all(layout.options <= set(OPTIONS) for layout in LAYOUTS)
    assert all(one in {row.name for row in LAYOUTS} for layout in LAYOUTS for one in layout.over)


def test_two_layouts_that_fit_are_named_and_the_option_decides(tree: Tree) -> None:
    root = tree({"cat": 2, "dog": 2, "owl": 2})
    _idx(root)

    with pytest.raises(DataError, match=r"two ways: --layout idx takes .*--layout folders takes"):
        _find(root)
    assert _find(root, layout="idx").classes == ("0", "1")
    assert _find(root, layout="folders").classes == ("cat", "dog", "owl")
    with pytest.raises(SettingError, match="unknown layout 'folder'; did you mean 'folders'"):
        _find(root, layout="folder")


@pytest.mark.parametrize("option", sorted(set(OPTIONS) - {"class_level", "label_from_name"}))
def test_an_option_that_a_layout_cannot_follow_is_refused_by_name(tree: Tree, option: str) -> None:
    flag = option.replace("_", "-")

    for data in (tree({"cat": 2, "dog": 2}), "@fashion"):
        with pytest.raises(SettingError, match=f"--{flag} has no effect: .* drop it"):
            _find(data, **{option: "|" if option == "label_separator" else "patient"})


@pytest.mark.parametrize("data", ["~nosuchuser/x", "x" * 300, "a\0b", "no/such/folder"])
def test_a_path_that_cannot_be_is_reported_in_one_line(tree: Tree, data: str) -> None:
    reasons = r"no such path|no file|there is no user|too long|zero character"
    folder = tree({"a": 1})
    for where, settings in ((data, {}), (folder, {"labels": data})):
        with pytest.raises(RavineError, match=reasons) as caught:
            _find(where, **settings)
        assert len(str(caught.value)) <= 200
        assert "\n" not in str(caught.value)


def test_images_and_labels_together_are_refused(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,label\n")

    with pytest.raises(SettingError, match="--images has no effect with --labels"):
        _find(tree({"a": 1}), labels=str(tmp_path / "t.csv"), images="x")


def test_what_was_understood_is_reported_first_and_in_full(tree: Tree) -> None:
    root = tree({"Birds/crow": 3, "Birds/jay": 3, "Plants/rose": 3})
    (root / "Plants" / "a.nef").write_bytes(b"")
    dataset = open_dataset(DataSettings.of({"data": str(root)}), seed=0)
    events: list[Event] = []

    report_audit(dataset, events.append)

    first = events[0]
    assert isinstance(first, Notice)
    assert first.text == dataset.audit["understood"]["line"]
    assert first.text.startswith("read as folders; classes: leaf folders, 3 (not the 2 folders")
    assert first.details["understood"] == {
        "layout": "folders",
        "classes": "leaf folders, 3 (not the 2 folders above, Birds, Plants: --class-level 1)",
        "splits": "",
        "left_out": ["1 .nef (convert them to .jpg or .png)"],
    }


def test_every_source_says_what_it_was_taken_for() -> None:
    found = _find("@fashion").understood

    assert found is not None
    assert found.layout == "idx"
    assert found.splits == "splits: the names of the files"
