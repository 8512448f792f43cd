"""Lists and annotations of published sets, in the form in which their makers publish them."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.settings import DataSettings


def draw(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(root / name)


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def read(data: Path, **options: Any) -> Collection:
    return find_collection(DataSettings.of({"data": str(data), **options}))


def rows(found: Collection) -> dict[str, tuple[str, str | None]]:
    splits = found.given_splits or [None] * len(found.names)
    return {
        name: (found.classes[label], split)
        for name, label, split in zip(found.names, found.labels, splits, strict=True)
    }


def cub(root: Path) -> Path:
    birds = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    names = [f"{bird}/{bird[4:]}_{n:04d}_{n}.jpg" for bird in birds for n in range(3)]
    home = root / "CUB_200_2011"
    draw(home / "images", *names)
    write(home / "images.txt", *(f"{i} {name}" for i, name in enumerate(names, 1)))
    write(home / "image_class_labels.txt", *(f"{i} {1 + (i > 3)}" for i in range(1, 7)))
    write(home / "classes.txt", *(f"{i} {bird}" for i, bird in enumerate(birds, 1)))
    write(home / "train_test_split.txt", *(f"{i} {int(i % 3 > 0)}" for i in range(1, 7)))
    write(home / "bounding_boxes.txt", "1 60.0 27.0 325.0 304.0")
    write(home / "attributes/attributes.txt", "1 has_bill_shape::curved")
    write(root / "attributes.txt", "1 has_bill_shape::curved")
    return root


@pytest.mark.parametrize("below", ["", "CUB_200_2011"])
def test_birds_are_joined_by_their_numbers(tmp_path: Path, below: str) -> None:
    found = read(cub(tmp_path) / below)
    assert found.classes == ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    assert Counter(rows(found).values()) == {
        ("001.Black_footed_Albatross", "train"): 2,
        ("001.Black_footed_Albatross", "test"): 1,
        ("002.Laysan_Albatross", "train"): 2,
        ("002.Laysan_Albatross", "test"): 1,
    }


@pytest.mark.parametrize("name", ["image_class_labels.txt", "classes.txt", "train_test_split.txt"])
def test_a_list_of_birds_that_lacks_a_line_is_named(tmp_path: Path, name: str) -> None:
    path = cub(tmp_path) / "CUB_200_2011" / name
    write(path, *path.read_text().splitlines()[:-1])
    with pytest.raises(DataError, match=rf"{name} has no line for"):
        read(tmp_path)


def flowers(root: Path) -> Path:
    scipy_io = pytest.importorskip("scipy.io")
    draw(root / "jpg", *(f"image_{n:05d}.jpg" for n in range(1, 9)))
    scipy_io.savemat(root / "imagelabels.mat", {"labels": np.array([[1, 1, 2, 2, 1, 2, 1, 2]])})
    splits = {"trnid": [[1, 3, 5, 6]], "valid": [[2, 4]], "tstid": [[8, 7]]}
    scipy_io.savemat(root / "setid.mat", {k: np.array(v, np.uint16) for k, v in splits.items()})
    return root


def test_flowers_have_their_labels_and_splits(tmp_path: Path) -> None:
    found = rows(read(flowers(tmp_path)))
    assert found["image_00003.jpg"] == ("2", "train")
    assert found["image_00002.jpg"] == ("1", "validation")
    assert found["image_00007.jpg"] == ("1", "test")
    assert Counter(split for _, split in found.values()) == {
        "train": 4,
        "validation": 2,
        "test": 2,
    }


def test_flowers_whose_splits_overlap_are_refused(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    flowers(tmp_path)
    splits = {"trnid": [[1, 2]], "valid": [[2]], "tstid": [[3]]}
    scipy_io.savemat(tmp_path / "setid.mat", splits)
    with pytest.raises(DataError, match="valid names image 2 of 8"):
        read(tmp_path)


def cars(root: Path) -> Path:
    scipy_io = pytest.importorskip("scipy.io")
    kinds = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012"]
    draw(root, *(f"cars_{s}/{n:05d}.jpg" for s in ("train", "test") for n in range(1, 5)))
    for name, split in (("cars_train_annos", "train"), ("cars_test_annos_withlabels", "test")):
        fields = [("bbox_x1", "O"), ("class", "O"), ("fname", "O")]
        values = [(39, 1 + n % 2, f"{n:05d}.jpg") for n in range(1, 5)]
        annotations = np.array(values, dtype=fields)[None]
        folder = root / "devkit" if split == "train" else root
        folder.mkdir(exist_ok=True)
        scipy_io.savemat(folder / f"{name}.mat", {"annotations": annotations})
    names = np.array(kinds, dtype=object)[None]
    scipy_io.savemat(root / "devkit/cars_meta.mat", {"class_names": names})
    return root


def test_cars_have_the_names_of_their_classes(tmp_path: Path) -> None:
    found = rows(read(cars(tmp_path)))
    assert found["cars_train/00001.jpg"] == ("Acura RL Sedan 2012", "train")
    assert found["cars_test/00002.jpg"] == ("AM General Hummer SUV 2000", "test")
    assert len(found) == 8


def test_cars_for_the_test_without_labels_are_left_out_and_said(tmp_path: Path) -> None:
    (cars(tmp_path) / "cars_test_annos_withlabels.mat").unlink()
    found = read(tmp_path)
    assert (len(found.names), found.given_splits) == (4, ())
    assert found.understood is not None
    assert "cars_test/ without cars_test_annos_withlabels.mat" in found.understood.line()


def aircraft(root: Path) -> Path:
    names = {"0034309": "Boeing 707", "0034958": "A300B4", "1025794": "F/A-18", "9": "Boeing 707"}
    home = root / "data"
    draw(home / "images", *(f"{name}.jpg" for name in names))
    parts = {"train": ["0034309", "0034958"], "val": ["1025794"], "test": ["9"]}
    for split, members in (*parts.items(), ("trainval", parts["train"] + parts["val"])):
        write(home / f"images_{split}.txt", *members)
        write(home / f"images_variant_{split}.txt", *(f"{m} {names[m]}" for m in members))
        write(home / f"images_family_{split}.txt", *(f"{m} {names[m][:2]}" for m in members))
    write(home / "variants.txt", *sorted(set(names.values())))
    write(home / "images_box.txt", "0034309 3 144 998 431")
    return root


def test_aircraft_wants_a_level_and_takes_the_lists_of_that_name(tmp_path: Path) -> None:
    root = aircraft(tmp_path / "fgvc")
    with pytest.raises(DataError, match=r"images_family_train.txt and images_variant_train.txt"):
        read(root)
    found = read(root / "data/images_variant_train.txt")
    assert rows(found) == {
        "0034309.jpg": ("Boeing 707", "train"),
        "0034958.jpg": ("A300B4", "train"),
        "1025794.jpg": ("F/A-18", "validation"),
        "9.jpg": ("Boeing 707", "test"),
    }
    joined = rows(read(root / "data/images_variant_trainval.txt"))
    assert Counter(split for _, split in joined.values()) == {"train": 3, "test": 1}


def test_one_of_ten_partitions_of_textures_is_taken_whole(tmp_path: Path) -> None:
    names = [f"{kind}/{kind}_{n:04d}.jpg" for kind in ("banded", "dotted") for n in range(6)]
    draw(tmp_path / "images", *names)
    for part in range(1, 11):
        for at, split in enumerate(("train", "val", "test")):
            write(tmp_path / f"labels/{split}{part}.txt", *names[(at + part) % 3 :: 3])
    with pytest.raises(DataError, match=r"ravine train .*labels/train1.txt"):
        read(tmp_path)
    found = read(tmp_path / "labels/train2.txt")
    assert found.classes == ("banded", "dotted")
    assert Counter(found.given_splits) == {"train": 4, "validation": 4, "test": 4}
    assert {n for n, (_, split) in rows(found).items() if split == "train"} == set(names[2::3])


def test_scenes_below_letters_are_read_by_a_partition_and_by_their_folders(tmp_path: Path) -> None:
    kinds = ("a/abbey", "a/airport/indoor", "b/beach")
    names = [f"{kind}/sun_{n}.jpg" for kind in kinds for n in range(4)]
    draw(tmp_path, *names)
    write(tmp_path / "ClassName.txt", *(f"/{kind}" for kind in kinds))
    assert read(tmp_path).classes == ("abbey", "airport/indoor", "beach")
    for part in ("01", "02"):
        write(tmp_path / f"Partitions/Training_{part}.txt", *(f"/{n}" for n in names[::2]))
        write(tmp_path / f"Partitions/Testing_{part}.txt", *(f"/{n}" for n in names[1::2]))
    found = read(tmp_path / "Partitions/Training_01.txt")
    assert found.classes == ("abbey", "airport/indoor", "beach")
    assert Counter(found.given_splits) == {"train": 6, "test": 6}


def test_objects_beside_annotations_are_class_folders(tmp_path: Path) -> None:
    for kind in ("BACKGROUND_Google", "accordion", "airplanes"):
        draw(tmp_path / "101_ObjectCategories" / kind, "image_0001.jpg", "image_0002.jpg")
    (tmp_path / "Annotations/accordion").mkdir(parents=True)
    (tmp_path / "Annotations/accordion/annotation_0001.mat").write_bytes(b"MATLAB 5.0")
    found = read(tmp_path)
    assert found.classes == ("BACKGROUND_Google", "accordion", "airplanes")
    assert found.understood is not None
    assert "Annotations/" in found.understood.line()


@pytest.mark.parametrize("make", [flowers, cars])
@pytest.mark.parametrize("keep", [0, 100, 140, 200])
def test_cut_matlab_files_are_one_line(tmp_path: Path, make: Any, keep: int) -> None:
    make(tmp_path)
    for path in tmp_path.rglob("*.mat"):
        path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError):
        read(tmp_path)


def celeba(root: Path, *, images: str = "", labels: str = "", splits: str = "") -> Path:
    """Writes CelebA as its makers publish it, or its parts in folders of their own."""
    names = [f"{n:06d}.jpg" for n in range(1, 13)]
    draw(root / images / "img_align_celeba", *names)
    flags = [" ".join(f"{1 if n % (k + 2) else -1:2d}" for k in range(3)) for n in range(1, 13)]
    rows = [f"{name} {row}" for name, row in zip(names, flags, strict=True)]
    head = "5_o_Clock_Shadow Bald Male "
    write(root / labels / "list_attr_celeba.txt", "12", head, *rows)
    write(
        root / labels / "identity_CelebA.txt", *(f"{n} {10 + i % 3}" for i, n in enumerate(names))
    )
    boxes = [f"{name}    95  71 226  313" for name in names]
    write(root / labels / "list_bbox_celeba.txt", "12", "image_id x_1 y_1 width height", *boxes)
    parts = [f"{name} {(0, 0, 1, 2)[i % 4]}" for i, name in enumerate(names)]
    write(root / splits / "list_eval_partition.txt", *parts)
    return root


@pytest.mark.parametrize("kept", [{}, {"images": "Img", "labels": "Anno", "splits": "Eval"}])
def test_celeba_has_its_attributes_and_the_splits_of_its_partition(
    tmp_path: Path, kept: dict[str, str]
) -> None:
    root = celeba(tmp_path / "celeba", **kept)
    table = root / kept.get("labels", "") / "list_attr_celeba.txt"

    with pytest.raises(DataError, match=r"list_attr_celeba.txt labels them: ravine train \S+") as e:
        read(root)
    folder, _, option = str(e.value).rpartition("ravine train ")[2].partition(" --labels ")
    assert Path(option) == table
    for data in (Path(folder), root):
        found = read(data, labels=str(table))
        assert found.classes == ("5_o_Clock_Shadow", "Bald", "Male")
        assert found.labels[0].tolist() == [1, 1, 1]
        assert found.labels[5].tolist() == [0, 0, 1]  # 000006: no second, no third
        assert Counter(found.given_splits) == {"train": 6, "validation": 3, "test": 3}
        assert found.given_splits[2:4] == ["validation", "test"]
    assert read(root, labels=str(table), split_column="none").given_splits == ()


def test_celeba_s_identities_follow_the_partition_and_its_splits_are_no_classes(
    tmp_path: Path,
) -> None:
    root = celeba(tmp_path)

    found = read(root, labels=str(root / "identity_CelebA.txt"))

    assert found.classes == ("10", "11", "12")
    assert Counter(found.given_splits) == {"train": 6, "validation": 3, "test": 3}
    with pytest.raises(DataError, match="gives splits, and no classes"):
        read(root / "list_eval_partition.txt")
    assert read(root / "list_attr_celeba.txt").classes == ("5_o_Clock_Shadow", "Bald", "Male")


def deepfashion(root: Path) -> Path:
    """Writes DeepFashion's category and attribute prediction as its makers publish it."""
    clothes = ("Sheer_Pleated-Front_Blouse", "Classic_Denim_Jacket", "Floral_Tee")
    names = [f"img/{c}/img_{n:08d}.jpg" for c in clothes for n in range(1, 5)]
    draw(root, *names)
    write(
        root / "Anno/list_category_cloth.txt",
        *("3", "category_name  category_type", "Blouse         1", "Jacket  1", "Tee  1"),
    )
    write(
        root / "Anno/list_category_img.txt",
        *("12", "image_name  category_label"),
        *(f"{name:<70} {1 + i // 4}" for i, name in enumerate(names)),
    )
    write(
        root / "Anno/list_attr_cloth.txt",
        *("3", "attribute_name  attribute_type", "a-line   3", "abstract  1", "abstract chevron 1"),
    )
    write(
        root / "Anno/list_attr_img.txt",
        *("12", "image_name  attribute_labels"),
        *(
            f"{name:<70} {' '.join(f'{1 if i % (k + 2) else -1:2d}' for k in range(3))}"
            for i, name in enumerate(names)
        ),
    )
    write(
        root / "Eval/list_eval_partition.txt",
        *("12", "image_name  evaluation_status"),
        *(f"{n:<70} {('train', 'train', 'val', 'test')[i % 4]}" for i, n in enumerate(names)),
    )
    return root


def test_deepfashion_has_the_names_of_its_categories_and_its_partition(tmp_path: Path) -> None:
    root = deepfashion(tmp_path)

    found = read(root, labels=str(root / "Anno/list_category_img.txt"))

    assert found.classes == ("Blouse", "Jacket", "Tee")
    assert found.labels.tolist() == [i // 4 for i in range(12)]
    assert Counter(found.given_splits) == {"train": 6, "validation": 3, "test": 3}


def test_deepfashion_s_attributes_have_their_names(tmp_path: Path) -> None:
    root = deepfashion(tmp_path)

    with pytest.raises(DataError, match="labels the images otherwise"):
        read(root)
    found = read(root, labels=str(root / "Anno/list_attr_img.txt"))

    assert found.classes == ("a-line", "abstract", "abstract chevron")
    assert found.labels[1].tolist() == [1, 1, 1]
    assert found.labels[6].tolist() == [0, 0, 1]
    assert Counter(found.given_splits) == {"train": 6, "validation": 3, "test": 3}


def test_class_folders_follow_a_partition_too(tmp_path: Path) -> None:
    names = [f"{c}/{n}.png" for c in ("cat", "dog") for n in range(6)]
    draw(tmp_path, *names)
    write(
        tmp_path / "Eval/split.txt", *(f"{n} {'test' if n[4] == '5' else 'train'}" for n in names)
    )

    assert {n for n, (_, split) in rows(read(tmp_path)).items() if split == "test"} == {
        "cat/5.png",
        "dog/5.png",
    }
    assert read(tmp_path, split_column="none").given_splits == ()
