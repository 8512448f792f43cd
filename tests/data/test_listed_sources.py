"""Images that a list names: metadata, COCO-style JSON, text lists, Tiny-ImageNet, GTSRB."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings


def paint(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _find(path: Path, **options: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(path), **options}))


def by_split(found: Collection) -> dict[str | None, list[tuple[str, str]]]:
    """Returns (name, class) of the images of each split."""
    splits = found.given_splits or [None] * len(found.names)
    rows: dict[str | None, list[tuple[str, str]]] = {}
    for name, label, split in zip(found.names, found.labels, splits, strict=True):
        rows.setdefault(split, []).append((name, found.classes[label]))
    return rows


def _jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")


def _parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)


METADATA = {"metadata.jsonl": _jsonl, "metadata.parquet": _parquet}


@pytest.mark.parametrize("name", list(METADATA))
def test_a_row_of_metadata_beats_the_folder_and_an_image_without_one_is_left_out(
    tmp_path: Path, name: str
) -> None:
    for number, image in enumerate(("a/1.png", "a/2.png", "b/3.png", "b/4.png")):
        paint(tmp_path / image, number)
    rows = [{"file_name": "a/1.png", "label": "cat"}, {"file_name": "a/2.png", "label": "dog"}]
    METADATA[name](tmp_path / name, [*rows, {"file_name": "b/3.png", "label": "cat"}])

    found = _find(tmp_path)

    assert by_split(found) == {None: [("a/1.png", "cat"), ("a/2.png", "dog"), ("b/3.png", "cat")]}
    assert found.unlabelled == ["b/4.png"]
    assert found.understood is not None
    assert "column label, 2; left out: 1 images that no list names" in found.understood.line()


@pytest.mark.parametrize("name", list(METADATA))
@pytest.mark.parametrize("below", [True, False])
def test_metadata_of_each_split_or_of_all_gives_the_splits(
    tmp_path: Path, name: str, below: bool
) -> None:
    rows = []
    for split, numbers in (("train", (0, 1, 2, 3)), ("validation", (4, 5)), ("test", (6,))):
        for n in numbers:
            paint(tmp_path / split / f"{n}.png", n)
        own = [{"file_name": f"{n}.png", "label": n % 2} for n in numbers]
        if below:
            METADATA[name](tmp_path / split / name, own)
        rows += [{**row, "file_name": f"{split}/{row['file_name']}"} for row in own]
    if not below:
        METADATA[name](tmp_path / name, rows)

    found = by_split(_find(tmp_path))

    assert {split: len(images) for split, images in found.items()} == {
        "train": 4,
        "validation": 2,
        "test": 1,
    }
    assert found["test"] == [("test/6.png", "0")]


def test_captions_alone_leave_the_folders_as_classes(tmp_path: Path) -> None:
    for number, image in enumerate(("a/1.png", "b/2.png")):
        paint(tmp_path / image, number)
    _jsonl(tmp_path / "metadata.jsonl", [{"file_name": "a/1.png", "text": "a cat"}])

    assert _find(tmp_path).classes == ("a", "b")


def test_any_jsonl_labels_a_folder_of_images(tmp_path: Path) -> None:
    for n in range(3):
        paint(tmp_path / "images" / f"{n}.png", n)
    rows = [{"image": f"{n}.png", "kind": "ab"[n % 2]} for n in range(3)]
    _jsonl(tmp_path / "rows.jsonl", rows)

    found = _find(tmp_path / "images", labels=str(tmp_path / "rows.jsonl"), label_column="kind")

    assert by_split(found) == {None: [("0.png", "a"), ("1.png", "b"), ("2.png", "a")]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('{"file_name": "1.png", "label": ', "line 1: no JSON object"),
        ('{"file_name": "1.png", "label": [1, [2]]}', "which is no single class"),
        ('{"file_name": "1.png", "label": 0.5}', "which is no single class"),
        ('{"file_name": "1.png", "label": null}', "line 1: '1.png' has no label"),
        ('{"file_name": "../1.png", "label": 1}', "is no path below the folder"),
        ('{"file_name": "/etc/1.png", "label": 1}', "is no path below the folder"),
        ('{"file_name": "9.png", "label": 1}', "1 of 1 images are not in .* the first '9.png'"),
        ('{"file_name": 3, "label": 1}', "line 1: no file_name"),
        ('{"label": 1}', "name it with --image-column, one of: label"),
        ("[1]", "line 1: no JSON object"),
        ('{"file_name": "1.png", "label": 1}\n' * 2, "is also in metadata.jsonl, line 1"),
        ("[" * 100_000, "line 1: no JSON object"),
    ],
)
def test_a_row_of_metadata_that_is_wrong_is_refused_by_its_line(
    tmp_path: Path, rows: str, message: str
) -> None:
    paint(tmp_path / "1.png")
    (tmp_path / "metadata.jsonl").write_text(rows)

    with pytest.raises(DataError, match=message) as found:
        _find(tmp_path)
    assert len(str(found.value)) - 2 * len(str(tmp_path)) <= 200


def _coco(path: Path, images: Mapping[int, str], labels: Mapping[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "info": {"year": 2018},
        "images": [{"id": key, "file_name": name, "width": 8} for key, name in images.items()],
        "annotations": [
            {"id": number, "image_id": image, "category_id": kind}
            for number, (image, kind) in enumerate(labels.items())
        ],
        "categories": [
            {"id": 7, "name": "Corvus corax"},
            {"id": 2, "name": "Pica pica"},
            {"id": 3, "name": "Pica pica"},
        ],
    }
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("folder", ["", "annotations"])
def test_inaturalist_s_jsons_give_classes_and_splits(tmp_path: Path, folder: str) -> None:
    train = {1: "train_val2018/Aves/7/a.png", 2: "train_val2018/Aves/2/b.png"}
    val = {3: "train_val2018/Aves/3/c.png", 4: "train_val2018/Aves/7/d.png"}
    for number, name in {**train, **val}.items():
        paint(tmp_path / name, number)
    _coco(tmp_path / folder / "train2018.json", train, {1: 7, 2: 2})
    _coco(tmp_path / folder / "val2018.json", val, {3: 3, 4: 7})
    _coco(tmp_path / folder / "test2018.json", {9: "test2018/x.png"}, {})

    found = _find(tmp_path)

    assert found.classes == ("Pica pica (2)", "Pica pica (3)", "Corvus corax")
    assert by_split(found) == {
        "train": [(train[1], "Corvus corax"), (train[2], "Pica pica (2)")],
        "validation": [(val[3], "Pica pica (3)"), (val[4], "Corvus corax")],
    }
    assert found.understood is not None
    assert found.understood.left_out == ("test2018.json, without categories",)


def test_boxes_of_several_categories_are_several_labels(tmp_path: Path) -> None:
    paint(tmp_path / "images" / "a.png")
    _coco(tmp_path / "train.json", {1: "a.png"}, {1: 7})
    content = json.loads((tmp_path / "train.json").read_text())
    box = {"bbox": [1, 1, 4, 4]}
    content["annotations"] += [{"id": 9, "image_id": 1, "category_id": 2, **box}] * 2
    (tmp_path / "train.json").write_text(json.dumps(content))

    found = _find(tmp_path)
    assert [found.classes[k] for k in np.flatnonzero(found.labels[0])] == list(found.classes)
    assert found.understood is not None
    assert "boxes and masks" in found.understood.left_out
    with pytest.raises(DataError, match="several categories; leave out --labels-per-image one"):
        _find(tmp_path, labels_per_image="one")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(image_id=99), "names the image 99, which is not in"),
        (lambda c: c["annotations"][0].update(category_id=99), "names the category 99"),
        (lambda c: c["images"][0].pop("file_name"), "is no COCO-style JSON"),
        (lambda c: c.update(images=3), "is no COCO-style JSON"),
        (lambda c: c["images"][0].update(id=[1]), "is no COCO-style JSON"),
        (lambda c: c["images"][0].update(file_name="b.png"), "name the folder of the images"),
        (lambda c: c.update(annotations=[]), "gives no image a category"),
    ],
)
def test_a_json_that_does_not_hold_together_is_refused(
    tmp_path: Path, change: Any, message: str
) -> None:
    paint(tmp_path / "images" / "a.png")
    _coco(tmp_path / "train.json", {1: "a.png"}, {1: 7})
    content = json.loads((tmp_path / "train.json").read_text())
    change(content)
    (tmp_path / "train.json").write_text(json.dumps(content))

    with pytest.raises(DataError, match=message):
        _find(tmp_path)


def _write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_food_101_is_split_by_its_lists(tmp_path: Path) -> None:
    for number, name in enumerate(("apple_pie/1", "apple_pie/2", "sushi/3", "sushi/4")):
        paint(tmp_path / "images" / f"{name}.jpg", number)
    _write(tmp_path / "meta" / "train.txt", "apple_pie/1", "sushi/3")
    _write(tmp_path / "meta" / "test.txt", "apple_pie/2")
    _write(tmp_path / "meta" / "classes.txt", "apple_pie", "sushi")

    found = _find(tmp_path)

    assert by_split(found) == {
        "train": [("apple_pie/1.jpg", "apple_pie"), ("sushi/3.jpg", "sushi")],
        "test": [("apple_pie/2.jpg", "apple_pie")],
    }
    assert found.unlabelled == ["sushi/4.jpg"]


def test_pets_are_called_by_the_beginnings_of_their_names(tmp_path: Path) -> None:
    names = ("Abyssinian_1", "great_pyrenees_2", "Abyssinian_3", "great_pyrenees_4")
    for number, name in enumerate(names):
        paint(tmp_path / "images" / f"{name}.jpg", number)
    head = ["#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids"]
    _write(
        tmp_path / "annotations/list.txt",
        *head,
        *(f"{n} {i % 2 + 1} 1 1" for i, n in enumerate(names)),
    )
    _write(tmp_path / "annotations/trainval.txt", "Abyssinian_1 1 1 1", "great_pyrenees_2 2 2 1")
    _write(tmp_path / "annotations/test.txt", "Abyssinian_3 1 1 1", "great_pyrenees_4 2 2 1")

    found = _find(tmp_path)

    assert by_split(found) == {
        "train": [("Abyssinian_1.jpg", "Abyssinian"), ("great_pyrenees_2.jpg", "great_pyrenees")],
        "test": [("Abyssinian_3.jpg", "Abyssinian"), ("great_pyrenees_4.jpg", "great_pyrenees")],
    }
    assert found.understood is not None
    assert "beginnings of the names, 2" in found.understood.line()


@pytest.mark.parametrize("separator", [" ", "\t", ","])
def test_lists_of_paths_and_labels_are_followed(tmp_path: Path, separator: str) -> None:
    for n in range(4):
        paint(tmp_path / "img" / f"a b {n}.png", n)
    rows = [f"img/a b {n}.png{separator}{n % 2}" for n in range(4)]
    _write(tmp_path / "train.txt", *rows[:2])
    _write(tmp_path / "val.txt", *rows[2:])

    assert by_split(_find(tmp_path)) == {
        "train": [("img/a b 0.png", "0"), ("img/a b 1.png", "1")],
        "validation": [("img/a b 2.png", "0"), ("img/a b 3.png", "1")],
    }


def test_several_lists_for_training_are_refused_and_one_can_be_named(tmp_path: Path) -> None:
    for name in ("banded/1.jpg", "dotted/2.jpg"):
        paint(tmp_path / "images" / name)
    for number in (1, 2):
        _write(tmp_path / "labels" / f"train{number}.txt", "banded/1.jpg", "dotted/2.jpg")

    with pytest.raises(DataError, match=r"train1.txt and train2.txt, both for train; name one of"):
        _find(tmp_path)
    assert _find(tmp_path / "labels" / "train2.txt").classes == ("banded", "dotted")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a/1.png 0", "a/9.png 1"], "1 of 2 images are not in"),
        (["a/1.png 0", "a/2.png"], "line 2: 1 columns; the first line has 2"),
        (["a/1.png 0", "a/1.png 1"], "is also in train.txt, line 1"),
        (["a/1.png 0", "../x/2.png 1"], "is no path below the folder"),
    ],
)
def test_a_line_of_a_list_that_is_wrong_is_refused(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    for n in (1, 2):
        paint(tmp_path / "a" / f"{n}.png", n)
    _write(tmp_path / "train.txt", *lines)

    with pytest.raises(DataError, match=message):
        _find(tmp_path)


def test_a_list_does_not_reach_above_the_folder_that_is_named(tmp_path: Path) -> None:
    paint(tmp_path / "a" / "1.png")
    for name in ("x", "y"):
        paint(tmp_path / "named" / name / "2.png")
    _write(tmp_path / "named" / "train.txt", "a/1.png 0")

    with pytest.raises(DataError, match=r"lists images that are not below .* --layout folders"):
        _find(tmp_path / "named")
    assert _find(tmp_path / "named", layout="folders").classes == ("x", "y")


def test_a_link_to_itself_disturbs_no_detector(tmp_path: Path) -> None:
    for name in ("x", "y"):
        paint(tmp_path / name / "1.png")
    (tmp_path / "z.npz").symlink_to(tmp_path / "z.npz")

    assert _find(tmp_path).classes == ("x", "y")


def test_tiny_imagenet_s_validation_has_the_labels_of_its_list(tmp_path: Path) -> None:
    for wnid in ("n01", "n02"):
        for n in range(4):
            paint(tmp_path / "train" / wnid / "images" / f"{wnid}_{n}.JPEG", n)
        _write(tmp_path / "train" / wnid / f"{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t0\t1\t1")
    for n in range(4):
        paint(tmp_path / "val" / "images" / f"val_{n}.JPEG", n)
    for n in range(3):
        paint(tmp_path / "test" / "images" / f"test_{n}.JPEG", n)
    rows = [f"val_{n}.JPEG\tn0{n % 2 + 1}\t0\t0\t7\t7" for n in range(4)]
    _write(tmp_path / "val" / "val_annotations.txt", *rows)
    _write(tmp_path / "words.txt", "n01\tgoldfish, Carassius auratus", "n02\tcrane", "n03\tcrane")

    found = _find(tmp_path)

    assert found.classes == ("goldfish", "crane")
    split = by_split(found)
    assert len(split["train"]) == 8
    assert split["train"][0] == ("train/n01/images/n01_0.JPEG", "goldfish")
    assert split["validation"] == [
        (f"val/images/val_{n}.JPEG", ("goldfish", "crane")[n % 2]) for n in range(4)
    ]
    assert found.understood is not None
    assert found.understood.left_out == ("3 test images without a label",)
    _write(tmp_path / "val" / "val_annotations.txt", "val_0.JPEG\tn09")
    with pytest.raises(DataError, match="line 1: wanted are an image, a tab and a class that is"):
        _find(tmp_path)


def _signs(root: Path, kaggle: bool) -> None:
    for label in (0, 16):
        folder = f"Train/{label}" if kaggle else f"Final_Training/Images/{label:05d}"
        for track in (0, 1):
            for n in (0, 1, 2):
                seed = 100 * label + 10 * track + n
                name = f"{track:05d}_{n:05d}"
                name = f"{label:05d}_{name}.png" if kaggle else f"{name}.ppm"
                paint(root / folder / name, seed)
        if not kaggle:
            _write(root / folder / f"GT-{label:05d}.csv", "Filename;Width;ClassId")
    for n in range(2):
        paint(
            root
            / ("Test" if kaggle else "Final_Test/Images")
            / f"{n:05d}.{'png' if kaggle else 'ppm'}",
            n,
        )
    if kaggle:
        _write(root / "Train.csv", "Width,Height,ClassId,Path", "8,8,0,Train/0/x.png")
        _write(root / "Test.csv", "Width,ClassId,Path", "8,16,Test/00000.png", "8,0,Test/00001.png")


@pytest.mark.parametrize("kaggle", [False, True])
def test_traffic_signs_have_numbers_for_classes_and_tracks_for_groups(
    tmp_path: Path, kaggle: bool
) -> None:
    _signs(tmp_path if kaggle else tmp_path / "GTSRB", kaggle)
    if not kaggle:
        rows = ["Filename;Width;ClassId", "00000.ppm;8;16", "00001.ppm;8;0"]
        _write(tmp_path / "GTSRB" / "GT-final_test.csv", *rows)

    found = _find(tmp_path)

    assert found.classes == (("0", "16") if kaggle else ("00000", "00016"))
    split = by_split(found)
    assert [label for _, label in split["test"]] == [found.classes[1], found.classes[0]]
    assert len(split["train"]) == 12
    assert len(set(found.groups[:12])) == 4
    data = {"data": str(tmp_path), "validation": 0.3}
    opened = open_dataset(DataSettings.of(data), seed=0)
    tracks = {name: {found.groups[i] for i in index} for name, index in opened.splits.items()}
    assert not tracks["train"] & tracks["validation"]


def test_traffic_signs_without_labels_for_their_test_leave_it_out(tmp_path: Path) -> None:
    _signs(tmp_path / "GTSRB", kaggle=False)

    found = _find(tmp_path)

    assert "test" not in found.given_splits
    assert found.understood is not None
    assert found.understood.left_out == ("2 test images without a label",)


@settings(max_examples=60)
@given(data=st.data(), kind=st.sampled_from(["coco", "jsonl", "list", "parquet"]))
def test_lists_whose_bytes_change_never_give_a_traceback(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    paint(tmp_path / kind / "images" / "a.png")
    path = tmp_path / kind / ("metadata.parquet" if kind == "parquet" else "metadata.jsonl")
    rows = [{"file_name": "images/a.png", "label": "x"}]
    if kind == "coco":
        path = tmp_path / kind / "train.json"
        _coco(path, {1: "a.png"}, {1: 7})
    elif kind == "list":
        path = tmp_path / kind / "train.txt"
        _write(path, "images/a.png 1")
    else:
        METADATA[path.name](path, rows)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(
                st.integers(0, 7)
            )
    path.write_bytes(bytes(content))

    said = ""
    try:
        _find(tmp_path / kind)
    except DataError as error:
        said = str(error)

    assert "\n" not in said
