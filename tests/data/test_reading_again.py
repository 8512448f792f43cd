"""Other data for a trained network: read by the options of the training, as far as they fit."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import DataError, SettingError
from ravine.data.dataset import Preprocessing
from ravine.data.discovery import find_collection
from ravine.data.network_images import open_reading
from ravine.data.reading import Reading, read_again
from ravine.data.reading_options import NOT_READ_AGAIN
from ravine.data.settings import DataSettings


def pictures(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8, 3), (number * 37) % 256, np.uint8)
        pixels[0, 0] = len(str(folder)) % 256
        Image.fromarray(pixels).save(path)
    return folder


def table(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def read(trained: dict[str, Any], data: Path, *classes: str, **given: Any) -> Reading:
    labels = given.pop("labels", None)
    return read_again(trained, data=str(data), labels=labels, classes=classes, given=given)


def labels_of(found: Reading) -> dict[str, str]:
    names = [Path(name).name for name in found.collection.names]
    classes = found.collection.classes
    return {
        name: classes[label] for name, label in zip(names, found.collection.labels, strict=True)
    }


def test_the_level_of_the_classes_is_found_again(tmp_path: Path) -> None:
    data = pictures(tmp_path / "d", "Birds/crow/1.png", "Birds/jay/2.png", "Plants/rose/3.png")
    found = read({"class_level": "1"}, data, "Birds", "Plants")
    assert labels_of(found) == {"1.png": "Birds", "2.png": "Birds", "3.png": "Plants"}
    assert found.notes == ()
    leaf = read({"class_level": "leaf"}, data, "crow", "jay", "rose")
    assert labels_of(leaf) == {"1.png": "crow", "2.png": "jay", "3.png": "rose"}


def test_a_level_that_the_new_tree_does_not_have_is_replaced_in_one_line(tmp_path: Path) -> None:
    data = pictures(tmp_path / "test", "cat/a/1.png", "dog/b/2.png")
    found = read({"class_level": "2"}, data, "cat", "dog")  # trained on d/train/cat
    assert labels_of(found) == {"1.png": "cat", "2.png": "dog"}
    assert found.settings.class_level == "1"
    (note,) = found.notes
    assert note.startswith("--class-level 2 of the training does not fit ")
    assert note.endswith("; read by --class-level 1")


def test_a_level_that_the_user_gives_is_not_replaced(tmp_path: Path) -> None:
    data = pictures(tmp_path / "test", "cat/a/1.png", "dog/b/2.png")
    with pytest.raises(DataError, match="the class 'a', which the network does not know"):
        read({"class_level": "1"}, data, "cat", "dog", class_level="2")


def test_labels_in_names_are_found_again(tmp_path: Path) -> None:
    data = pictures(tmp_path / "new", "cat.7.png", "dog.8.png")
    trained = {"label_from_name": "before-dot"}
    assert labels_of(read(trained, data, "cat", "dog")) == {"cat.7.png": "cat", "dog.8.png": "dog"}
    folders = pictures(tmp_path / "folders", "cat/1.png", "dog/2.png")
    found = read({"label_from_name": r"^(\w+)-"}, folders, "cat", "dog")
    assert labels_of(found) == {"1.png": "cat", "2.png": "dog"}
    assert "fits no name in" in found.notes[0]


def test_the_layout_is_found_again_where_two_fit(tmp_path: Path) -> None:
    for name in ("first", "second"):
        home = pictures(tmp_path / name, "a/1.png", "b/2.png")
        table(home / "metadata.csv", "file_name,label", "a/1.png,b", "b/2.png,a")
    with pytest.raises(DataError, match="--layout"):
        read({}, tmp_path / "second", "a", "b")
    found = read({"layout": "split-tables"}, tmp_path / "second", "a", "b")
    assert labels_of(found) == {"1.png": "b", "2.png": "a"}
    folders = read({"layout": "folders"}, tmp_path / "second", "a", "b")
    assert labels_of(folders) == {"1.png": "a", "2.png": "b"}


def test_a_layout_that_does_not_fit_is_named(tmp_path: Path) -> None:
    data = pictures(tmp_path / "d", "a/1.png", "b/2.png")
    found = read({"layout": "table", "label_column": "dx"}, data, "a", "b")
    assert labels_of(found) == {"1.png": "a", "2.png": "b"}
    assert "is not laid out as the training data (table)" in found.notes[0]
    assert "--label-column dx of the training has no effect" in found.notes[1]


def test_columns_and_splits_of_a_table_are_found_again(tmp_path: Path) -> None:
    home = pictures(tmp_path, "1.png", "2.png", "3.png", "4.png")
    rows = ["1.png,mel,x,0", "2.png,nv,y,1", "3.png,nv,x,2", "4.png,mel,y,2"]
    data = table(home / "t.csv", "photo,dx,kind,part", *rows)
    trained = {"image_column": "photo", "label_column": "dx", "split_column": "part"}
    found = read(trained, data, "mel", "nv")
    assert labels_of(found) == {"1.png": "mel", "2.png": "nv", "3.png": "nv", "4.png": "mel"}
    assert Counter(found.collection.given_splits) == {"train": 1, "validation": 1, "test": 2}
    other = read(trained, data, "x", "y", label_column="kind")
    assert labels_of(other) == {"1.png": "x", "2.png": "y", "3.png": "x", "4.png": "y"}


def test_a_column_that_the_table_lacks_is_named_and_left_to_its_usual_name(tmp_path: Path) -> None:
    home = pictures(tmp_path, "1.png", "2.png")
    data = table(home / "t.csv", "image,label", "1.png,mel", "2.png,nv")
    found = read({"image_column": "photo", "label_column": "dx"}, data, "mel", "nv")
    assert labels_of(found) == {"1.png": "mel", "2.png": "nv"}
    assert [note.split(" of the ")[0] for note in found.notes] == [
        "--image-column photo",
        "--label-column dx",
    ]


def test_the_labels_of_the_training_belong_to_its_own_images_only(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", "1.png", "2.png")
    labels = table(tmp_path / "train.csv", "image,label", "1.png,a", "2.png,b")
    trained = {"data": str(images), "labels": str(labels)}
    assert labels_of(read(trained, images, "a", "b")) == {"1.png": "a", "2.png": "b"}
    other = pictures(tmp_path / "others", "1.png", "2.png")
    with pytest.raises(DataError, match="no class folders"):
        read(trained, other, "a", "b")


def test_images_of_the_training_are_taken_where_the_table_has_none_of_its_own(
    tmp_path: Path,
) -> None:
    images = pictures(tmp_path / "images", "1.png", "2.png", "3.png")
    trained = {"data": str(tmp_path / "a/train.csv"), "images": str(images)}
    data = table(tmp_path / "a/test.csv", "image,label", "1.png,a", "2.png,b")
    found = read(trained, data, "a", "b")
    assert [Path(one.path).parent for one in found.collection.files] == [images, images]
    assert found.notes[0].startswith("the images are those of the training, ")
    own = table(pictures(tmp_path / "own", "1.png", "2.png") / "t.csv", "image,label", "1.png,a")
    found = read(trained, own, "a", "b")
    assert [Path(one.path).parent for one in found.collection.files] == [tmp_path / "own"]


def test_options_that_the_new_data_cannot_follow_are_dropped_for_the_sample() -> None:
    names = find_collection(DataSettings(data="@fashion")).classes
    found = read_again(
        {"class_level": "2", "label_column": "y"}, data="@fashion", classes=list(names)
    )
    assert len(found.collection.classes) == 10


def test_an_option_that_has_no_effect_is_refused_when_the_user_gives_it(tmp_path: Path) -> None:
    data = pictures(tmp_path / "d", "a/1.png", "b/2.png")
    with pytest.raises(SettingError, match="--label-column has no effect"):
        read({}, data, "a", "b", label_column="dx")


def test_how_the_training_loaded_holds_again(tmp_path: Path) -> None:
    data = pictures(tmp_path / "d", "a/1.png", "b/2.png")
    found = read({"cache": False, "stream": "on", "workers": 0}, data, "a", "b")
    assert (found.settings.cache, found.settings.stream, found.settings.workers) == (False, "on", 0)


def test_every_setting_of_the_data_either_holds_again_or_is_known_not_to() -> None:
    assert set(DataSettings.model_fields) >= NOT_READ_AGAIN
    again = set(DataSettings.model_fields) - NOT_READ_AGAIN
    assert again >= {"layout", "class_level", "label_from_name", "split_column", "label_column"}


def test_jsonl_and_parquet_columns_are_found_again(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    home = pictures(tmp_path / "m", "1.png", "2.png")
    table(
        home / "metadata.jsonl",
        '{"file_name": "1.png", "label": "x", "dx": "a"}',
        '{"file_name": "2.png", "label": "y", "dx": "b"}',
    )
    assert labels_of(read({"label_column": "dx"}, home, "a", "b")) == {"1.png": "a", "2.png": "b"}
    lacking = read({"label_column": "gone"}, home, "x", "y")
    assert "--label-column gone of the training is no column" in lacking.notes[0]
    content = [(home / f"{n}.png").read_bytes() for n in (1, 2)]
    made = arrow.table({"image": content, "coarse": ["x", "y"], "fine": ["a", "b"]})
    parquet.write_table(made, tmp_path / "t.parquet")
    found = read({"label_column": "fine"}, tmp_path / "t.parquet", "a", "b")
    assert found.collection.classes == ("a", "b")


def test_what_was_read_is_decoded_as_the_network_wants_it(tmp_path: Path) -> None:
    data = pictures(tmp_path / "d", "Birds/crow/1.png", "Plants/rose/3.png")
    found = read({"class_level": "1"}, data, "Plants", "Birds")
    form = Preprocessing(image_size=8, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    opened = open_reading(found, preprocessing=form, classes=("Plants", "Birds"))
    assert opened.labels.tolist() == [1, 0]
