"""Classes in two spellings: of Unicode, or in the case of their letters."""

import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image

from ravine.data.class_matching import class_indices
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.settings import DataSettings

NFC, NFD = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")


def _tree(root: Path, *folders: str) -> Collection:
    for number, name in enumerate(f"{folder}/{n}" for folder in folders for n in range(3)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{name}.png")
    return find_collection(DataSettings.of({"data": str(root)}))


def _line(found: Collection) -> str:
    assert found.understood is not None
    return found.understood.line()


def test_one_name_in_two_forms_of_unicode_is_one_class(tmp_path: Path) -> None:
    for name, folders in {
        "a": (f"train/{NFC}", "train/tea", f"test/{NFD}", "test/tea"),
        "b": (NFC, NFD, "tea"),
    }.items():
        found = _tree(tmp_path / name, *folders)

        assert len(found.classes) == 2
        assert np.bincount(found.labels).tolist() == [6, 6] if name == "a" else [6, 3]
        assert "classes: folders, 2" in _line(found)
        assert "in another spelling" in _line(found)


def test_other_case_in_another_split_is_the_same_class(tmp_path: Path) -> None:
    for name, folders in {
        "some": ("train/Cat", "train/dog", "test/cat", "test/dog"),
        "all": ("train/Cat", "train/dog", "test/cat", "test/Dog"),
    }.items():
        found = _tree(tmp_path / name, *folders)

        assert found.classes == ("Cat", "dog")
        assert np.bincount(found.labels).tolist() == [6, 6]
        assert found.unlabelled == []
        assert "in another spelling" in _line(found)


def test_other_case_next_to_each_other_stays_two_classes_and_is_said(tmp_path: Path) -> None:
    found = _tree(tmp_path / "words", "Cat", "cat", "dog")

    assert found.classes == ("Cat", "cat", "dog")
    assert "('Cat' and 'cat' differ in case only)" in _line(found)
    assert "differ" not in _line(_tree(tmp_path / "letters", "A", "a", "b"))


def test_labels_of_a_table_in_two_forms_of_unicode_are_one(tmp_path: Path) -> None:
    _tree(tmp_path / "i", "x", "y")
    text = f"name,label\nx/0.png,{NFC} tea\nx/1.png,{NFD} tea\ny/0.png,b|{NFD}\ny/1.png,b|{NFC}\n"
    (tmp_path / "t.csv").write_text(text.replace(" tea", ""), encoding="utf-8")

    found = find_collection(
        DataSettings.of({"data": str(tmp_path / "i"), "labels": str(tmp_path / "t.csv")})
    )

    assert len(found.classes) == 2
    assert found.labels.sum(0).tolist() == [2, 4]


def test_a_network_s_class_is_found_in_another_spelling() -> None:
    assert class_indices(["CAT", NFD], [NFC, "cat"], "test").tolist() == [1, 0]


def test_a_folder_named_as_two_others_is_a_class_and_that_is_said(tmp_path: Path) -> None:
    found = _tree(tmp_path / "a", "scab", "rust", "scab_rust")

    assert found.classes == ("rust", "scab", "scab_rust")
    assert "'scab_rust', named as others together, is one class" in _line(found)
    assert "together" not in _line(_tree(tmp_path / "b", "red fox", "fox", "owl"))
