"""Arrays in .npz files: what their values and labels mean, and what is refused in one line."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.dataset import Dataset
from ravine.data.discovery import find_collection
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

LABELS = np.array([0, 1, 2, 0, 1, 2])


def _images(count: int = 6, seed: int = 0, size: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def _find(path: Path, **options: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(path), **options}))


def _open(path: Path) -> Dataset:
    return open_dataset(DataSettings(data=str(path), validation=0), seed=0)


def _saved(folder: Path, **arrays: object) -> Path:
    path = folder / "a.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        (("x_train", "y_train"), ("x_val", "y_val"), ("x_test", "y_test")),
        (("X_train", "Y_train"), ("X_valid", "Y_valid"), ("X_test", "Y_test")),
        (
            ("train_images", "train_labels"),
            ("val_images", "val_labels"),
            ("test_images", "test_labels"),
        ),
        (
            ("images_train", "labels_train"),
            ("images_dev", "labels_dev"),
            ("images_test", "labels_test"),
        ),
        (("trainX", "trainY"), ("validX", "validY"), ("testX", "testY")),
    ],
)
def test_arrays_are_paired_and_split_by_the_words_of_their_names(
    tmp_path: Path, train: tuple[str, str], validation: tuple[str, str], test: tuple[str, str]
) -> None:
    parts = {}
    for seed, (x, y) in enumerate((train, validation, test)):
        parts |= {x: _images(seed=seed), y: LABELS}

    found = _open(_saved(tmp_path, **parts))

    assert {name: index.tolist() for name, index in found.splits.items()} == {
        "train": list(range(6)),
        "validation": list(range(6, 12)),
        "test": list(range(12, 18)),
    }
    assert np.array_equal(found.images[6:12], _images(seed=1))


def test_medmnist_s_labels_in_a_column_are_one_class_each(tmp_path: Path) -> None:
    found = _find(_saved(tmp_path, train_images=_images(), train_labels=LABELS[:, None]))

    assert found.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bool"])
def test_one_hot_rows_are_the_column_of_their_one(tmp_path: Path, dtype: str) -> None:
    rows = np.eye(3)[LABELS].astype(dtype)

    assert _find(_saved(tmp_path, x=_images(), y=rows)).labels.tolist() == LABELS.tolist()


def test_rows_with_more_than_one_1_or_none_are_several_labels(tmp_path: Path) -> None:
    rows = np.zeros((6, 14), np.uint8)
    rows[0, [2, 5]] = 1
    path = _saved(tmp_path, train_images=_images(), train_labels=rows)

    found = _find(path)

    assert np.array_equal(found.labels, rows)
    assert found.classes == tuple(str(k) for k in range(14))
    with pytest.raises(DataError, match="an image has several labels or none; leave out"):
        _find(path, labels_per_image="one")


def test_a_share_in_rows_of_labels_is_refused(tmp_path: Path) -> None:
    rows = np.eye(6, dtype=np.float32)
    rows[3, 3] = 0.3

    with pytest.raises(
        DataError, match=r"train_labels \(6, 6\) holds 0.3; rows of labels are of 0"
    ):
        _find(_saved(tmp_path, train_images=_images(), train_labels=rows))


def test_floats_that_are_whole_numbers_are_labels_and_others_are_not(tmp_path: Path) -> None:
    found = _find(_saved(tmp_path, x=_images(), y=LABELS.astype(np.float32)))

    assert found.classes == ("0", "1", "2")
    with pytest.raises(DataError, match=r"y holds 0.5, which is no class"):
        _find(_saved(tmp_path, x=_images(), y=LABELS / 2))


@pytest.mark.parametrize(
    ("train_high", "test_high"), [(1.0, 1.0), (1.0000001, 1.0), (1.0, 1.02), (1.04, 0.9)]
)
def test_floats_a_hair_above_one_are_scaled_with_all_others(
    tmp_path: Path, train_high: float, test_high: float
) -> None:
    values = np.random.default_rng(0).random((6, 8, 8))
    train, test = values.copy(), values.copy()
    train[0, 0, 0], test[0, 0, 0] = train_high, test_high

    path = _saved(tmp_path, x_train=train, y_train=LABELS, x_test=test, y_test=LABELS)
    found = _open(path).images

    expected = (values.clip(0, 1) * 255).round().astype(np.uint8)
    expected[0, 0, 0] = 255
    assert np.array_equal(found[:6, :, :, 0], expected)
    expected[0, 0, 0] = round(min(test_high, 1) * 255)
    assert np.array_equal(found[6:, :, :, 0], expected)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_masks_of_zeros_and_ones_are_black_and_white(tmp_path: Path, dtype: str) -> None:
    masks = np.random.default_rng(0).random((6, 8, 8)) > 0.5

    found = _open(_saved(tmp_path, images=masks.astype(dtype), labels=LABELS))

    assert np.array_equal(found.images[..., 0], masks * np.uint8(255))


@pytest.mark.parametrize("high", [1.2, 1.9, 3.0])
def test_a_greatest_float_between_the_two_ranges_is_refused(tmp_path: Path, high: float) -> None:
    values = np.linspace(0, high, 6 * 64).reshape(6, 8, 8)

    with pytest.raises(DataError, match=rf"x reaches {high:g}: too much for 0..1, too little for"):
        _open(_saved(tmp_path, x=values, y=LABELS))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.linspace(-1, 1, 384), "reaches from -1 to 1; wanted is 0..255 or 0..1"),
        (np.linspace(0, 4095, 384), "reaches from 0 to 4095; wanted"),
        (np.array([np.nan] + [0.5] * 383), "holds NaN"),
    ],
)
def test_values_that_are_no_pixels_are_refused(
    tmp_path: Path, values: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _open(_saved(tmp_path, x=values.reshape(6, 8, 8), y=LABELS))


def test_bytes_for_training_and_floats_below_one_for_testing_are_refused(tmp_path: Path) -> None:
    path = _saved(
        tmp_path, x_train=_images(), y_train=LABELS, x_test=_images() / 255, y_test=LABELS
    )

    with pytest.raises(DataError, match=r"x_test reaches .* and .*x_train .*save all images with"):
        _open(path)


@pytest.mark.parametrize("held_out", [("x_test",), ("x_val", "x_test")])
def test_held_out_arrays_alone_are_not_trained_on(
    tmp_path: Path, held_out: tuple[str, ...]
) -> None:
    parts = {x: _images() for x in held_out} | {f"y{x[1:]}": LABELS for x in held_out}

    with pytest.raises(DataError, match="has no training split, only"):
        _open(_saved(tmp_path, **parts))
    with pytest.raises(DataError, match="'images', which names no split, beside"):
        _open(_saved(tmp_path, images=_images(), labels=LABELS, **parts))


def test_arrays_of_other_names_are_not_read(tmp_path: Path) -> None:
    path = _saved(tmp_path, images=_images(), labels=LABELS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("features.npy", b"this is no array")

    assert len(_find(path).names) == 6


def _zip_of(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def _members(**arrays: np.ndarray) -> dict[str, bytes]:
    return {f"{name}.npy": _npy(array) for name, array in arrays.items()}


def _with_flag(content: bytes, flag: int, method: int) -> bytes:
    """Returns a zip whose first member says that it is encrypted, or packed in another way."""
    found = bytearray(content)
    directory = found.index(b"PK\1\2")
    for start, at in ((0, 6), (directory, 8)):
        found[start + at] |= flag
        if method:
            found[start + at + 2] = method
    return bytes(found)


def test_files_that_are_no_whole_npz_end_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    good = _members(images=_images(), labels=LABELS)
    whole = _saved(tmp_path, images=_images(), labels=LABELS).read_bytes()
    header = good["images.npy"]
    cases = {
        "a .npy": _npy(_images()),
        "empty": b"",
        "text": b"images,labels\n",
        "cut off": whole[: len(whole) // 2],
        "encrypted": _with_flag(whole, flag=1, method=0),
        "of an unknown method": _with_flag(whole, flag=0, method=99),
    }
    torn = {
        "members without .npy": {"images": good["images.npy"], "labels": good["labels.npy"]},
        "a torn header": good | {"images.npy": header.replace(b"'descr'", b"'des\n(r'")},
        "a lying shape": good | {"images.npy": header.replace(b"(6, 8, 8, 3)", b"(9, 8, 8, 3)")},
        "a negative shape": good | {"images.npy": header.replace(b"(6, 8, 8", b"(6,-8, 8")},
        "a huge shape": good | {"images.npy": header.replace(b"8, 8, 3), }  ", b"8, 99999999),}")},
        "no header": good | {"images.npy": b"\x93NUMPY\x01\x00"},
        "another version": good | {"images.npy": b"\x93NUMPY\x09\x00" + header[8:]},
        "objects": good | {"labels.npy": _npy_of_objects()},
        "images of 0×0": good | _members(images=_images()[:, :0, :0]),
        "no images": good | _members(images=_images()[:0], labels=LABELS[:0]),
        "a scalar for classes": good | _members(classes=np.array("cat")),
        "a table for classes": good | _members(classes=np.array([["a", "b", "c"]])),
        "too few classes": good | _members(classes=np.array(["a", "b"])),
        "text for images": good | _members(images=np.array(["x"] * 6)),
        "complex images": good | _members(images=_images() * 1j),
        "one number for labels": good | _members(labels=np.array(3)),
        "too few labels": good | _members(labels=LABELS[:5]),
        "boxes for labels": good | _members(labels=np.ones((6, 4), int)),
        "dates for labels": good | _members(labels=LABELS.astype("datetime64[s]")),
        "images of two sizes": _members(
            x_train=_images(), y_train=LABELS, x_test=_images(size=9), y_test=LABELS
        ),
        "images of two colours": _members(
            x_train=_images(), y_train=LABELS, x_test=_images()[..., 0], y_test=LABELS
        ),
        "two arrays for one": good | _members(x=_images()),
        "text and numbers": _members(
            x_train=_images(), y_train=LABELS, x_test=_images(), y_test=np.array(list("abcabc"))
        ),
    }
    for name, members in torn.items():
        _zip_of(path, members)
        cases[name] = path.read_bytes()
    for name, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(DataError) as found:
            _open(path)
        assert "\n" not in str(found.value), name
        assert len(str(found.value)) - len(str(tmp_path)) <= 200, name


def _npy_of_objects() -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.array([{}] * 6, dtype=object), allow_pickle=True)
    return file.getvalue()


@settings(max_examples=150)
@given(data=st.data())
def test_bits_that_flip_and_ends_that_are_lost_never_give_a_traceback(
    tmp_path: Path, data: st.DataObject
) -> None:
    whole = bytearray(_saved(tmp_path, images=_images(size=3), labels=LABELS).read_bytes())
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    for _ in range(data.draw(st.integers(0, 6))):
        if whole:
            at = data.draw(st.integers(0, len(whole) - 1))
            whole[at] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.npz"
    path.write_bytes(bytes(whole))

    assert "\n" not in _refusal(path)


def _refusal(path: Path) -> str:
    """Returns why a file is refused, or "" if all its images are read."""
    try:
        found = _find(path)
        assert found.pixels is not None
        assert len(list(found.pixels)) == len(found.names)
    except DataError as error:
        return str(error)
    return ""


def test_kuzushiji_49_is_read_from_its_files_of_one_array(tmp_path: Path) -> None:
    for split, seed in (("train", 0), ("test", 1)):
        np.savez_compressed(tmp_path / f"k49-{split}-imgs.npz", _images(seed=seed)[..., 0])
        np.savez_compressed(tmp_path / f"k49-{split}-labels.npz", LABELS.astype(np.uint8))
    lines = ["index,codepoint,char", "0,U+3042,あ", "1,U+3044,い", "2,U+3046,う"]
    (tmp_path / "k49_classmap.csv").write_text("\n".join(lines), encoding="utf-8")

    found = _open(tmp_path)

    assert found.classes == ("あ", "い", "う")
    assert found.splits["test"].tolist() == list(range(6, 12))
    assert np.array_equal(found.images[6:, :, :, 0], _images(seed=1)[..., 0])


def test_a_folder_with_a_file_for_each_split_is_read(tmp_path: Path) -> None:
    for split, seed in (("train", 0), ("test", 1)):
        np.savez(tmp_path / f"{split}.npz", images=_images(seed=seed), labels=LABELS)

    assert _open(tmp_path).splits["test"].tolist() == list(range(6, 12))


def test_a_folder_of_several_sets_is_refused(tmp_path: Path) -> None:
    for name in ("pathmnist", "bloodmnist"):
        np.savez(tmp_path / f"{name}.npz", train_images=_images(), train_labels=LABELS)

    with pytest.raises(DataError, match=r"2 .npz files of several sets: bloodmnist.npz, pathmnist"):
        _find(tmp_path)


def test_an_array_stored_by_columns_gives_the_same_images(tmp_path: Path) -> None:
    found = _open(_saved(tmp_path, images=np.asfortranarray(_images()), labels=LABELS))

    assert np.array_equal(found.images, _images())


_MEMORY = """
import resource, sys
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
open_dataset(DataSettings(data=sys.argv[1]), seed=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_a_large_npz_is_not_held_in_memory(tmp_path: Path) -> None:
    def megabytes(count: int) -> int:
        images = np.zeros((count, 64, 64, 3), np.uint8)
        images[:, 0, 0, 0] = np.arange(count) % 256
        np.savez(tmp_path / "a.npz", images=images, labels=np.arange(count) % 2)
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(tmp_path / "a.npz")],
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    assert megabytes(16_000) - megabytes(10) < 60  # of 197 MB of pixels
