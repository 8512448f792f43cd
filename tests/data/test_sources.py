import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.network_images import open_labelled, open_unlabelled
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.data.sources.pickled import read_pickled

Tree = Callable[..., Path]


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _open(data: Path | str, **settings: object):  # type: ignore[no-untyped-def]
    return open_dataset(DataSettings.of({"data": str(data), **settings}), seed=0)


def test_a_tree_gives_its_folders_as_classes(tree: Tree) -> None:
    found = _open(tree({"dog": 20, "cat": 10, "it's a “bird” 鳥": 10}))
    assert found.classes == ("cat", "dog", "it's a “bird” 鳥")
    assert np.bincount(found.labels).tolist() == [10, 20, 10]
    assert {name: len(index) for name, index in found.splits.items()} == {
        "train": 36,
        "validation": 4,
    }
    assert found.images.shape == (40, 12, 12, 3)


def test_train_val_and_test_folders_are_kept_as_they_are(tree: Tree) -> None:
    counts = {
        f"{split}/{name}": n
        for split, n in (("train", 6), ("valid", 3), ("test", 2))
        for name in "ab"
    }
    found = _open(tree(counts))
    assert {name: len(index) for name, index in found.splits.items()} == {
        "train": 12,
        "validation": 6,
        "test": 4,
    }
    assert all(found.names[i].startswith("valid/") for i in found.splits["validation"])


def test_numbers_as_class_names_are_ordered_as_numbers(tree: Tree) -> None:
    assert _open(tree({"10": 2, "9": 2, "1": 2})).classes == ("1", "9", "10")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for number in range(12):
        folder = "images/sub" if number % 2 else "images"
        picture(number).save(tmp_path / folder / f"p {number}.png")
    lines = ["id,breed,patient"]
    lines += [f"p {n},{'ab'[n % 3 == 0]},{n // 3}" for n in range(12)]
    (tmp_path / "train.csv").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    return tmp_path / "train.csv"


def test_a_csv_finds_its_columns_and_its_images_without_folder_and_ending(table: Path) -> None:
    found = _open(table.parent / "images", labels=str(table))
    assert found.classes == ("a", "b")
    assert len(found.names) == 12
    assert "sub/p 1.png" in found.names
    assert _open(table, images=str(table.parent / "images")).fingerprint == found.fingerprint


def test_groups_stay_on_one_side(table: Path) -> None:
    found = _open(
        table.parent / "images", labels=str(table), group_column="patient", validation=0.3
    )
    side = {}
    for name, index in found.splits.items():
        for i in index:
            number = int(found.names[i].split()[-1].removesuffix(".png"))
            assert side.setdefault(number // 3, name) == name
    assert set(side.values()) == {"train", "validation"}


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda t: t, {"label_column": "nope"}, "has no column 'nope'; it has: id, breed, patient"),
        (lambda t: t.replace("breed", "q"), {}, "--label-column, one of: id, q, patient"),
        (lambda t: t + "\nghost,a,1", {}, "a label has no image in .*'ghost' in line 14"),
        (lambda t: t + "\np 1,b,1", {}, "is in line 3 and again in line 14"),
        (lambda t: t.replace("p 3,b", "p 3,"), {}, "line 5: 'p 3' has no label"),
        (lambda t: t.split("\n")[0], {}, "holds no rows below its header"),
    ],
)
def test_a_csv_that_does_not_fit_is_reported_with_line_and_remedy(
    table: Path, change: Callable[[str], str], settings: dict[str, str], message: str
) -> None:
    table.write_text(change(table.read_text(encoding="utf-8-sig")), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        _open(table.parent / "images", labels=str(table), **settings)


def test_images_without_a_label_are_left_out_and_named_in_the_audit(table: Path) -> None:
    picture(99).save(table.parent / "images" / "extra.png")
    found = _open(table.parent / "images", labels=str(table))
    assert found.audit["unlabelled"] == {"images": 1, "examples": ["extra.png"]}


def _idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    content = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_are_read_packed_or_not(tmp_path: Path, ending: str) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("t10k", 10)):
        _idx(tmp_path / f"{split}-images-idx3-ubyte{ending}", rng.integers(0, 256, (count, 9, 9)))
        _idx(tmp_path / f"{split}-labels-idx1-ubyte{ending}", np.arange(count) % 4)
    found = _open(tmp_path)
    assert found.classes == ("0", "1", "2", "3")
    assert (len(found.splits["test"]), found.names[40]) == (10, "test[0]")
    assert found.preprocessing.channels == 1
    (tmp_path / f"train-labels-idx1-ubyte{ending}").unlink()
    with pytest.raises(DataError, match="has no labels"):
        _open(tmp_path)


def test_a_torn_idx_file_is_reported(tmp_path: Path) -> None:
    _idx(tmp_path / "train-images-idx3-ubyte", np.zeros((5, 9, 9)))
    _idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(5))
    whole = (tmp_path / "train-images-idx3-ubyte").read_bytes()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(whole[:-3])
    with pytest.raises(DataError, match="is torn: 402 values for the shape"):
        _open(tmp_path)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_cifar_batches_are_read_without_running_their_pickle(tmp_path: Path, protocol: int) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
    labels = [n % 10 for n in range(20)]
    for name in ("data_batch_1", "test_batch"):
        batch = {b"data": data, b"labels": labels, b"filenames": ["x"]}
        (tmp_path / name).write_bytes(pickle.dumps(batch, protocol))
    found = _open(tmp_path)
    assert found.classes[3] == "cat"
    expected = data[7].reshape(3, 32, 32).transpose(1, 2, 0)
    assert np.array_equal(found.images[7], expected)
    assert found.labels[7] == 7
    rows = np.concatenate([np.array(labels, np.uint8)[:, None], data], axis=1)
    binary = tmp_path / "binary"
    binary.mkdir()
    (binary / "data_batch_1.bin").write_bytes(rows.tobytes())
    assert np.array_equal(_open(binary).images[7], expected)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "was run"
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": Hostile(mark), "labels": [1]}, protocol))
    with pytest.raises(DataError, match=r"refused, nothing of it was run|torn"):
        read_pickled(path)
    assert not mark.exists()


def test_npz_files_of_both_kinds_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(30) % 3
    np.savez(
        tmp_path / "a.npz",
        x_train=images[:20],
        y_train=labels[:20],
        x_test=images[20:],
        y_test=labels[20:, None],
    )
    np.savez(
        tmp_path / "b.npz",
        images=images.transpose(0, 3, 1, 2) / 255,
        labels=np.array(["x", "y", "z"])[labels],
    )
    one, two = _open(tmp_path / "a.npz"), _open(tmp_path / "b.npz")
    assert len(one.splits["test"]) == 10
    assert two.classes == ("x", "y", "z")
    assert np.array_equal(one.images, two.images)
    np.savez(tmp_path / "c.npz", images=np.array([{}], dtype=object), labels=[1])
    with pytest.raises(DataError, match="without pickled objects"):
        _open(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", pictures=images)
    with pytest.raises(DataError, match="has the arrays pictures; wanted are"):
        _open(tmp_path / "d.npz")


def test_the_shipped_sample_has_10000_and_2000_images_of_named_clothes() -> None:
    found = _open("@fashion")
    assert found.classes[0] == "T-shirt/top"
    assert np.bincount(found.labels[found.splits["test"]]).tolist() == [200] * 10
    assert len(found.splits["train"]) + len(found.splits["validation"]) == 10_000


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"cat": 3}, "one class only, 'cat'"),
        ({"cat": 3, "dog": 0}, "class folder 'dog' holds no image"),
    ],
)
def test_too_few_classes_or_images_are_reported(
    tree: Tree, counts: dict[str, int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _open(tree(counts))


def test_loose_images_and_missing_paths_are_reported(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"3 images but no class folders.*--labels train.csv"):
        _open(tree({".": 3}))
    with pytest.raises(DataError, match="no such path"):
        _open(tmp_path / "none")
    with pytest.raises(DataError, match="no sample '@fashio'"):
        _open("@fashio")


def test_an_evaluation_maps_classes_by_name_and_refuses_strange_ones(tree: Tree) -> None:
    train = _open(tree({"a": 5, "b": 5, "c": 5}))
    other = tree({"c": 2, "a": 3}, root="test")
    found = open_labelled(
        str(other), labels=None, preprocessing=train.preprocessing, classes=train.classes
    )
    assert found.labels.tolist() == [0, 0, 0, 2, 2]
    with pytest.raises(DataError, match="has the class 'z', which the network does not know"):
        open_labelled(
            str(tree({"z": 2, "a": 2}, root="strange")),
            labels=None,
            preprocessing=train.preprocessing,
            classes=train.classes,
        )


def test_images_to_predict_come_from_files_folders_and_csvs(tree: Tree, tmp_path: Path) -> None:
    root = tree({"a": 3, "b": 3})
    preprocessing = _open(root).preprocessing
    (root / "a" / "bad.jpg").write_bytes(b"")
    found = open_unlabelled([root / "a", root / "b" / "001.png"], preprocessing=preprocessing)
    assert list(found.names) == ["000.png", "001.png", "002.png", "001.png"]
    assert found.unreadable == [("bad.jpg", "the file is empty")]
    (root / "list.csv").write_text("id\n002\n")
    (root / "a" / "002.png").unlink()
    listed = open_unlabelled([root / "list.csv"], preprocessing=preprocessing)
    assert list(listed.names) == ["002"]
    (root / "list.csv").write_text("id\nabsent\n")
    with pytest.raises(DataError, match="line 2: no image 'absent'"):
        open_unlabelled([root / "list.csv"], preprocessing=preprocessing)
