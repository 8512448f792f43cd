"""Layouts of public sets that were once read wrongly in silence, or refused without a way on.

Each test has the tree of a set as it is handed out, with small pictures of the test's own.
"""

import json
import re
import shlex
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings


def _find(data: Path | str, **settings: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(data), **settings}))


def _images(root: Path, names: Sequence[str]) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return root


def _as_the_message_says(text: str) -> Collection:
    """Returns what the command in a message reads."""
    found = re.search(r"ravine train (.+)$", text)
    assert found is not None, text
    data, *options = shlex.split(found[1])
    names = [name.removeprefix("--").replace("-", "_") for name in options[::2]]
    return _find(data, **dict(zip(names, options[1::2], strict=True)))


def _labels(found: Collection) -> dict[str, str]:
    return {n: found.classes[k] for n, k in zip(found.names, found.labels, strict=True)}


def test_parts_of_an_archive_are_no_classes(tmp_path: Path) -> None:  # HAM10000, NIH ChestX-ray14
    names = [f"HAM_images_part_{p}/ISIC_{p}{n}.png" for p in (1, 2) for n in range(4)]
    root = _images(tmp_path / "ham", names)
    rows = [f"ISIC_{p}{n},{'mel' if n % 2 else 'nv'}" for p in (1, 2) for n in range(4)]
    (root / "HAM_metadata.csv").write_text("image_id,dx\n" + "\n".join(rows))

    with pytest.raises(
        DataError, match=r"if they are classes: --class-level 1; .*labels"
    ) as caught:
        _find(root)
    assert _as_the_message_says(str(caught.value)).classes == ("mel", "nv")
    assert len(_find(root, class_level="1").classes) == 2
    (root / "HAM_metadata.csv").unlink()
    with pytest.raises(DataError, match="no class folders; if they are classes: --class-level 1"):
        _find(root)


@pytest.mark.parametrize("names", [("s1", "s2"), ("0", "1"), ("person 1", "person 2")])
def test_classes_that_are_numbered_are_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    root = _images(tmp_path / "faces", [f"{one}/{n}.png" for one in names for n in range(3)])

    assert _find(root).classes == names


def test_a_table_that_labels_images_otherwise_than_their_folders_is_not_passed_over(
    tmp_path: Path,
) -> None:
    names = [f"{who}/{n}.png" for who in ("anna", "bert", "carl") for n in range(4)]
    root = _images(tmp_path / "clinic", names)
    table = root / "labels.csv"
    table.write_text(
        "image,label\n" + "\n".join(f"{n},{'ill' if 'a' in n else 'well'}" for n in names)
    )

    with pytest.raises(DataError, match=r"two ways: .* labels the images") as caught:
        _find(root)
    assert _as_the_message_says(str(caught.value)).classes == ("ill", "well")
    assert _find(root, layout="folders").classes == ("anna", "bert", "carl")

    table.write_text("path,class id\n" + "\n".join(f"{n},{'abc'.find(n[0])}" for n in names))
    assert _find(root).classes == ("anna", "bert", "carl")  # the same in numbers


def test_a_folder_of_all_images_with_a_table_of_labels_names_it(tmp_path: Path) -> None:
    root = _images(tmp_path / "celeba", [f"aligned/aligned/{n:06d}.png" for n in range(8)])
    rows = [f"{n:06d}.png,{n % 2},{n % 3 // 2},1" for n in range(8)]
    (root / "attributes.csv").write_text("image_id,Bald,Male,Young\n" + "\n".join(rows))

    with pytest.raises(DataError, match="labels them: ravine train") as caught:
        _find(root)
    assert _as_the_message_says(str(caught.value)).labels.shape == (8, 3)


def test_celeba_s_list_has_a_count_above_and_no_name_for_its_first_column(tmp_path: Path) -> None:
    _images(tmp_path / "images", [f"{n:06d}.png" for n in range(6)])
    rows = [f"{n:06d}.png  {1 if n % 2 else -1} {1 if n % 3 else -1}" for n in range(6)]
    (tmp_path / "list_attr.txt").write_text("6\nBald Male \n" + "\n".join(rows) + "\n")

    found = _find(tmp_path / "images", labels=str(tmp_path / "list_attr.txt"))

    assert found.classes == ("Bald", "Male")
    assert found.labels.tolist() == [[n % 2, int(n % 3 > 0)] for n in range(6)]


def test_a_column_whose_last_word_is_usual_holds_the_labels(tmp_path: Path) -> None:
    _images(tmp_path, [f"0000_{n}.png" for n in range(6)])
    rows = [f"0000_{n}.png,{'Mass' if n % 2 else 'Mass|Hernia'},{n}" for n in range(6)]
    table = tmp_path / "entries.csv"
    table.write_text("Image Index,Finding Labels,Follow-up #\n" + "\n".join(rows))

    assert _find(table).classes == ("Hernia", "Mass")
    table.write_text(table.read_text().replace("Follow-up #", "Second Labels"))
    with pytest.raises(DataError, match="no column has a usual name for the label"):
        _find(table)


def test_numbers_that_lost_their_zeros_find_their_images(tmp_path: Path) -> None:
    _images(tmp_path, [f"{n:05d}.png" for n in range(12)])
    rows = [f"{n}{ending},{'ab'[n % 2]}" for n in range(12) for ending in ([""] if n else [".png"])]
    table = tmp_path / "t.csv"
    table.write_text("id,label\n" + "\n".join(rows))

    assert _labels(_find(table)) == {f"{n:05d}.png": "ab"[n % 2] for n in range(12)}
    _images(tmp_path, ["003.png"])
    with pytest.raises(DataError, match="'3' fits several images"):
        _find(table)


@pytest.mark.parametrize("as_list", [True, False])
def test_a_json_of_labels_is_a_table(tmp_path: Path, as_list: bool) -> None:
    names = [f"{n}.png" for n in range(6)]
    root = _images(tmp_path / "d", names)
    of = {name: "cat" if n % 2 else "dog" for n, name in enumerate(names)}
    rows = [{"image": name, "label": label} for name, label in of.items()]
    (root / "labels.json").write_text(json.dumps(rows if as_list else of))

    with pytest.raises(DataError, match=r"labels\.json labels them") as caught:
        _find(root)
    assert _labels(_as_the_message_says(str(caught.value))) == of
    (root / "labels.json").write_text("[1, 2]")
    with pytest.raises(DataError, match="wanted is a list of objects with file_name and label"):
        _find(root, labels=str(root / "labels.json"))


def _coco(path: Path, images: Sequence[str], kinds: Mapping[int, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(images)],
        "annotations": [{"image_id": n, "category_id": 1 + n % 2} for n in range(len(images))],
        "categories": [{"id": key, "name": name} for key, name in kinds.items()],
    }
    path.write_text(json.dumps(found))


@pytest.mark.parametrize("roboflow", [True, False])
def test_coco_s_images_lie_in_a_folder_for_each_split(tmp_path: Path, roboflow: bool) -> None:
    splits = ("train", "valid") if roboflow else ("train2017", "val2017")
    names = [f"{n}.png" for n in range(4)]  # of the same names in both
    for split in splits:
        _images(tmp_path / split, names)
        own = tmp_path / split / "_annotations.coco.json"
        other = tmp_path / "annotations" / f"instances_{split}.json"
        _coco(own if roboflow else other, names, {1: "cat", 2: "dog"})

    found = _find(tmp_path)

    assert found.names == [f"{split}/{name}" for split in splits for name in names]
    assert [Path(one.path).parent.name for one in found.files] == [s for s in splits for _ in names]
    assert found.given_splits == ["train"] * 4 + ["validation"] * 4
    assert found.classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("archive.zip", "unpack it, and name the folder"),
        ("a.tar.gz", "unpack it, and name the folder"),
        ("data-00000-of-00001.arrow", "makes a parquet of it"),
        ("x_train.npy", "numpy.savez"),
        ("train.tfrecord", "write the images out"),
    ],
)
def test_archives_and_files_of_other_libraries_have_their_remedy(
    tmp_path: Path, name: str, remedy: str
) -> None:
    (tmp_path / name).write_bytes(b"x")

    for data in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=f"{re.escape(remedy)}|compressed.*unpack it"):
            _find(data)


def test_one_image_is_no_source(tmp_path: Path) -> None:
    _images(tmp_path, ["a.png"])

    with pytest.raises(DataError, match="is one image; name the folder"):
        _find(tmp_path / "a.png")


def test_a_class_of_the_test_alone_is_named_as_such(tmp_path: Path) -> None:
    names = [f"train/{k}/{n}.png" for k in ("cat", "dog") for n in range(3)]
    root = _images(tmp_path / "d", [*names, "test/cat/0.png", "test/cow/0.png"])

    with pytest.raises(DataError, match="'cow' has no image to train on, and 1 in other splits"):
        open_dataset(DataSettings(data=str(root)), seed=0)


@pytest.mark.parametrize("sorted_too", [True, False])
def test_tables_of_splits_are_read_together(tmp_path: Path, sorted_too: bool) -> None:  # EuroSAT
    names = [f"{k if sorted_too else 'images'}/{k}_{n}.png" for k in ("a1", "b1") for n in range(6)]
    root = _images(tmp_path / "d", [*names, f"{'a1' if sorted_too else 'images'}/more.png"])
    for split, part in (("train", names[:4] + names[6:10]), ("test", [names[4], names[10]])):
        rows = [f"{number},{name},{'a1' in name}" for number, name in enumerate(part)]
        (root / f"{split}.csv").write_text(",Filename,Label\n" + "\n".join(rows))

    if sorted_too:
        with pytest.raises(DataError, match=r"two ways: --layout split-tables .*--layout folders"):
            _find(root)
        assert _find(root, layout="folders").given_splits == ()
    found = _find(root, layout="split-tables") if sorted_too else _find(root)

    assert dict(zip(found.names, found.given_splits, strict=True)) == {
        name: "test" if name in (names[4], names[10]) else "train"
        for name in names[:5] + names[6:11]
    }
    assert found.understood is not None
    assert found.understood.splits == "splits: test test.csv, train train.csv"
    assert found.understood.left_out == ("3 images without a row",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.png,a\n1.png,nan\n2.png,b", "line 3: '1.png' has no label"),
        ("0.png,0.5\n1.png,1.75\n2.png,2.25\n3.png,7", "'label' holds amounts such as 0.5, 4"),
        ("0.png,Z\u00fcrich\n1.png,b", "save it as UTF-8"),
    ],
)
def test_what_is_no_class_is_none(tmp_path: Path, text: str, reason: str) -> None:
    _images(tmp_path, [f"{n}.png" for n in range(6)])
    (tmp_path / "t.csv").write_bytes(f"image,label\n{text}".encode("latin-1"))

    with pytest.raises(DataError, match=re.escape(reason)):
        _find(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "text",
    [
        "image|label\n0.png|a\n1.png|b\n",
        "image,label\n0.PNG,a\n1.Png,b\n",
        "image,label\n 0.png,a\n1.png,b\n \n",
        "image,label\n0.png,a\n1.png,b\n2.png,0.5\n3.png,1.5\n",  # not all are numbers
    ],
)
def test_a_table_is_read_whoever_wrote_it(tmp_path: Path, text: str) -> None:
    _images(tmp_path, [f"{n}.png" for n in range(4)])
    (tmp_path / "t.csv").write_text(text)

    assert _labels(_find(tmp_path / "t.csv")).items() >= {("0.png", "a"), ("1.png", "b")}


def test_labels_in_the_names_of_a_tar_are_proposed(tmp_path: Path) -> None:
    names = [f"{k}.{n}.png" for k in ("cat", "dog") for n in range(4)]
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name in names:
            file.add(_images(tmp_path / "d", [name]) / name, arcname=name)

    with pytest.raises(DataError, match="names look like labels: --label-from-name before-dot"):
        _find(tmp_path / "a.tar")
    found = _find(tmp_path / "a.tar", label_from_name="before-dot")
    assert found.classes == ("cat", "dog")


def _classes_and_splits(found: Collection) -> dict[str, set[str]]:
    """Returns the splits of each class; none is all of them in one."""
    shown: dict[str, set[str]] = {name: set() for name in found.classes}
    for index, label in enumerate(found.labels):
        split = found.given_splits[index] if len(found.given_splits) else None
        shown[found.classes[label]].add(split or "all")
    return shown


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("birds", "birds-validation", "validation"),
        ("horse-or-human", "validation-horse-or-human", "validation"),
        ("rps", "rps-test-set", "test"),
    ],
)
def test_a_split_next_to_the_folder_that_it_is_of(
    tmp_path: Path, train: str, other: str, split: str
) -> None:
    root = _images(
        tmp_path, [f"{s}/{c}/{s}{n}.png" for s in (train, other) for c in "ab" for n in "12"]
    )

    assert _classes_and_splits(_find(root)) == {"a": {"train", split}, "b": {"train", split}}


def test_a_tube_and_a_test_tube_are_classes(tmp_path: Path) -> None:
    root = _images(tmp_path, [f"{c}/{n}.png" for c in ("tube", "test_tube") for n in range(3)])

    assert _find(root).classes == ("test_tube", "tube")


@pytest.mark.parametrize(
    ("inner", "outer", "message"),
    [
        ("flowers/{}", "{}", r"d and flowers/ in it have the same classes: a copy\? Name"),
        ("d/train/{}", "train/{}", r"d and d/ in it have the same splits, such as train/: a copy"),
        (
            "validation-a-or-b/{}",
            "{}",
            r"the same classes: for that split, move a, b into a folder train/",
        ),
    ],
)
def test_a_folder_inside_that_holds_it_all_again_is_named(
    tmp_path: Path, inner: str, outer: str, message: str
) -> None:
    names = [f"{place.format(c)}/{n}.png" for place in (inner, outer) for c in "ab" for n in "12"]

    with pytest.raises(DataError, match=message):
        _find(_images(tmp_path / "d", names))


def test_masks_next_to_the_images_of_each_class_are_left_out(tmp_path: Path) -> None:  # COVID-19
    names = [
        f"{c}/{k}/{n}.png" for c in ("COVID", "Normal") for k in ("images", "masks") for n in "12"
    ]

    found = _find(_images(tmp_path, names))

    assert _labels(found) == {n: n.partition("/")[0] for n in names if "masks" not in n}
    with pytest.raises(DataError, match="segmentation"):  # a folder for each image: no classes
        _find(
            _images(
                tmp_path / "d", [f"{i}/{k}/{i}.png" for i in "xyz" for k in ("images", "masks")]
            )
        )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            [f"patient_{p:03d}_node_0/{n}.png" for p in (4, 9) for n in (1, 2)],
            "a patient or a study",
        ),
        (
            [f"S{p}/S{p}_B0{n}.png" for p in (1, 2, 3) for n in (2, 3)],
            "one picture in parts, as _B02",
        ),
    ],
)  # Camelyon17 of WILDS, BigEarthNet
def test_patients_and_bands_are_no_classes(tmp_path: Path, names: list[str], message: str) -> None:
    root = _images(tmp_path, names)

    with pytest.raises(DataError, match=rf"{message}.*--class-level 1; else .*--labels"):
        _find(root)
    assert len(_find(root, class_level="1").classes) > 1


def test_belgian_signs_have_a_test_in_class_folders(tmp_path: Path) -> None:
    names = [
        f"{s}/0000{c}/0{t}_00.ppm" for s in ("Training", "Testing") for c in (0, 1) for t in (1, 2)
    ]
    root = _images(tmp_path, names)
    for part in ("Training", "Testing"):
        (root / part / "00000" / "GT-00000.csv").write_text("Filename;ClassId\n")

    assert _classes_and_splits(_find(root)) == {k: {"train", "test"} for k in ("00000", "00001")}


def test_kaggle_s_traffic_signs_are_read_in_one_way(tmp_path: Path) -> None:
    root = _images(
        tmp_path,
        [*(f"Train/{c}/0000{c}_00000_0{n}.png" for c in (0, 1) for n in (0, 1)), "Test/0.png"],
    )
    rows = "\n".join(f"{c},Train/{c}/0000{c}_00000_0{n}.png" for c in (0, 1) for n in (0, 1))
    (root / "Train.csv").write_text(f"ClassId,Path\n{rows}\n")
    (root / "Test.csv").write_text("ClassId,Path\n0,Test/0.png\n")

    assert _classes_and_splits(_find(root)) == {"0": {"train", "test"}, "1": {"train"}}


def test_stanford_dogs_follow_their_lists(tmp_path: Path) -> None:
    from_scipy = pytest.importorskip("scipy.io")
    root = _images(tmp_path, [f"Images/n{c}-x/n{c}_{n}.png" for c in (1, 2) for n in range(4)])
    for part, chosen in (("train", (0, 1, 2)), ("test", (3,))):
        names = [[f"n{c}-x/n{c}_{n}.png"] for c in (1, 2) for n in chosen]
        from_scipy.savemat(root / f"{part}_list.mat", {"file_list": np.array(names, dtype=object)})

    found = _find(root)

    assert _classes_and_splits(found) == {k: {"train", "test"} for k in ("n1-x", "n2-x")}
    assert list(found.given_splits).count("test") == 2


@pytest.mark.parametrize("names", [("cats", "dogs"), ("n01440764", "n02102040")])
def test_a_tar_for_each_class(tmp_path: Path, names: tuple[str, str]) -> None:
    _images(tmp_path / "files", [f"{n}.png" for n in range(3)])
    for name in names:
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            for file in sorted((tmp_path / "files").iterdir()):
                tar.add(file, arcname=file.name)
    for file in (tmp_path / "files").iterdir():
        file.unlink()

    assert _find(tmp_path).classes == names
    for number, name in enumerate(names):
        (tmp_path / f"{name}.tar").rename(tmp_path / f"wds_{number:05d}.tar")
    with pytest.raises(DataError, match="no image has a label"):
        _find(tmp_path)


def test_lists_of_other_homes_and_forms_are_followed(tmp_path: Path) -> None:
    root = _images(
        tmp_path / "p", [*(f"data_256/a/{c}/{n}.png" for c in "xy" for n in "12"), "val_256/v.png"]
    )
    rows = [f"/a/{c}/{n}.png {k}" for k, c in enumerate("xy") for n in "12"]
    (root / "places365_train_standard.txt").write_text("\n".join(rows))
    (root / "places365_val.txt").write_text("v.png 1\n")
    assert _classes_and_splits(_find(root)) == {"0": {"train"}, "1": {"train", "validation"}}

    root = _images(tmp_path / "m", [f"{c}/{n}.png" for c in ("cat", "dog") for n in range(4)])
    for part, chosen in (("train", (0, 1, 2)), ("val", (3,))):
        lines = [
            f"{n}\t{k}.000000\t{c}/{n}.png" for k, c in enumerate(("cat", "dog")) for n in chosen
        ]
        (root / f"set_{part}.lst").write_text("\n".join(lines))
    assert _classes_and_splits(_find(root)) == {c: {"train", "validation"} for c in ("cat", "dog")}


def test_voc_without_annotations_has_the_lists_of_its_classes(tmp_path: Path) -> None:
    root = _images(
        tmp_path / "a" / "VOCdevkit" / "VOC2012", [f"JPEGImages/{n}.png" for n in range(6)]
    )
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for part, chosen in (("train", range(4)), ("val", (4, 5))):
        for name, flags in (("cat", (1, -1, 0)), ("dog", (-1, 1, 1))):
            lines = [f"{n} {flags[n % 3]}" for n in chosen]
            (root / "ImageSets" / "Main" / f"{name}_{part}.txt").write_text("\n".join(lines) + "\n")

    found = _find(tmp_path / "a")  # found below the only folders

    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 1, 1, 0, 1, 1]
    assert found.given_splits == ["train"] * 4 + ["validation"] * 2


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        (
            "img_id,img_filename,y,split\n"
            + "\n".join(f"{n},{n:02d}.png,{n % 2},0" for n in range(6)),
            "01",
        ),
        (
            "patientId,x,Target\n" + "\n".join(f"0{n // 2},{n}.5,{n // 2 % 2}" for n in range(12)),
            "01",
        ),
        (
            "image,y,split\n"
            + "\n".join(f"{n:02d}.png,{n % 2},{'id_val' if n == 4 else 'train'}" for n in range(6)),
            "01",
        ),
        (
            "ImageID,LabelName,Confidence\n"
            + "\n".join(f"{n:02d},/m/{k},{int(n % 2 == k)}" for n in range(6) for k in (0, 1)),
            ("/m/0", "/m/1"),
        ),
    ],
)  # waterbirds, RSNA's boxes, iWildCam of WILDS, Open Images
def test_columns_of_published_tables(tmp_path: Path, text: str, classes: Sequence[str]) -> None:
    _images(tmp_path, [f"{n:02d}.png" for n in range(6)])
    (tmp_path / "t.csv").write_text(text)

    found = _find(tmp_path / "t.csv", split_column=None if "id_val" in text else "none")

    assert found.classes == tuple(classes)
    assert _labels(found) == {f"{n:02d}.png": classes[n % 2] for n in range(6)}
    assert list(found.given_splits).count("validation") == int("id_val" in text)


def test_a_column_of_links_is_no_label(tmp_path: Path) -> None:  # Fashion Product Images
    root = _images(tmp_path / "d", [f"images/{n}.png" for n in range(6)])
    table = root / "images.csv"
    table.write_text("filename,link\n" + "\n".join(f"{n}.png,http://x/{n}" for n in range(6)))

    with pytest.raises(DataError, match=r"'link' says something else for each of 6 images"):
        _find(table, images=str(root / "images"))
    with pytest.raises(DataError, match=r"if images.csv labels them: ravine train"):
        _find(root)


def test_ids_that_stand_for_several_images_are_proposed_as_no_labels(tmp_path: Path) -> None:
    names = [f"train/{i:08x}-bb_{c}.png" for i in range(6) for c in ("red", "green")]
    root = _images(tmp_path / "d", names)  # the Human Protein Atlas
    rows = [f"{i:08x}-bb,{i % 2}" for i in range(6)]
    (root / "train.csv").write_text("\n".join(["Id,Target", *rows]))

    with pytest.raises(DataError, match=r"a row of train.csv stands for several images"):
        _find(root)


def test_one_class_names_what_else_may_hold_the_labels(tmp_path: Path) -> None:
    root = _images(tmp_path / "d", [f"coil/obj{o}__{a}.png" for o in (1, 2) for a in (0, 5, 10)])

    with pytest.raises(DataError, match=r"one class only, 'coil'.*--label-from-name before-last-"):
        open_dataset(DataSettings(data=str(root)), seed=0)


def test_a_table_of_images_names_no_classes(tmp_path: Path) -> None:  # RAF-DB
    names = {s: [f"{s}_{n}.png" for n in range(6)] for s in ("train", "test")}
    _images(tmp_path, [f"{s}/{n}" for s, of_split in names.items() for n in of_split])
    for split, of_split in names.items():
        rows = [f"{name},{number % 3 + 1}" for number, name in enumerate(of_split)]
        (tmp_path / f"{split}_labels.csv").write_text("\n".join(["image,label", *rows]))

    assert _find(tmp_path).classes == ("1", "2", "3")


def test_videos_below_their_class_are_part_of_it(tmp_path: Path) -> None:  # UCF101's frames
    names = [f"{c}/v_{c}_g{g}/{n}.png" for c in ("Archery", "Biking") for g in "12" for n in "12"]

    assert _find(_images(tmp_path, names)).classes == ("Archery", "Biking")


def test_what_is_called_unlabelled_is_not_trained_on(tmp_path: Path) -> None:  # STL-10 as PNG
    parts = ("train_images", "unlabeled_images")
    root = _images(tmp_path, [f"{p}/{c}/{n}.png" for p in parts for c in "12" for n in "12"])

    assert set(_labels(_find(root))) == {f"train_images/{c}/{n}.png" for c in "12" for n in "12"}


def test_a_gallery_is_no_class_next_to_training_images(tmp_path: Path) -> None:  # Market-1501
    parts = ("bounding_box_train", "gallery", "query")

    with pytest.raises(DataError, match=r"gallery/ with images next to .*--class-level 1"):
        _find(_images(tmp_path, [f"{p}/0001_c1_{n}.png" for p in parts for n in range(3)]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 of a spreadsheet", "is a spreadsheet; save it as CSV"),
        (b"image,label\n0.png,a\0\n", "line 2: a byte 0 is no text"),
        (b"image,a,b\n0.png,1,0\n1.png,0,1\n2.png,0.3,0.7", "line 4: the column 'a' says '0.3'"),
    ],
)
def test_a_table_that_is_none_is_refused_by_its_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    _images(tmp_path / "d", [f"{n}.png" for n in range(3)])
    (tmp_path / "t.csv").write_bytes(content)

    with pytest.raises(DataError, match=message):
        _find(tmp_path / "d", labels=str(tmp_path / "t.csv"))


@pytest.mark.parametrize("mark", ["/", "+", "&"])
def test_a_combination_of_labels_that_are_known_is_no_class(tmp_path: Path, mark: str) -> None:
    _images(tmp_path / "d", [f"{n}.png" for n in range(6)])
    cells = ["scab", f"scab{mark}rust", "rust"]
    rows = "\n".join(f"{n}.png,{cells[n % 3]}" for n in range(6))
    (tmp_path / "t.csv").write_text(f"image,label\n{rows}")

    found = _find(tmp_path / "d", labels=str(tmp_path / "t.csv"))
    assert found.classes == ("rust", "scab")
    (tmp_path / "t.csv").write_text(f"image,label\n{rows.replace('.png,rust', '.png,dry')}")
    assert _find(tmp_path / "d", labels=str(tmp_path / "t.csv")).classes[0] == "dry"
