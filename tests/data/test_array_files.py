"""SVHN, STL-10, PCam and CIFAR, written by their formats' own libraries."""

import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.dataset import Dataset
from ravine.data.discovery import find_collection
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings


def _images(count: int = 6, seed: int = 0, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def _find(path: Path) -> Collection:
    return find_collection(DataSettings(data=str(path)))


def _open(path: Path) -> Dataset:
    return open_dataset(DataSettings(data=str(path), validation=0), seed=0)


def _refusal(path: Path) -> str:
    """Returns why a source is refused, or "" if all its images are read."""
    try:
        found = _find(path)
        assert found.pixels is not None
        assert len(list(found.pixels)) == len(found.names)
    except DataError as error:
        return str(error)
    return ""


def _svhn(path: Path, seed: int, labels: list[int]) -> Path:
    images = _images(len(labels), seed).transpose(1, 2, 3, 0)
    y = np.array(labels, np.uint8)[:, None]
    scipy.io.savemat(path, {"X": images, "y": y}, do_compression=True)
    return path


def test_the_label_10_of_svhn_is_the_digit_0_and_extra_images_are_left_out(tmp_path: Path) -> None:
    _svhn(tmp_path / "train_32x32.mat", 0, [10, 1, 2, 10])
    _svhn(tmp_path / "test_32x32.mat", 1, [1, 10, 2])
    _svhn(tmp_path / "extra_32x32.mat", 2, [1, 2])

    found = _open(tmp_path)

    assert found.classes == ("0", "1", "2")
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 0, 2]
    assert found.splits["test"].tolist() == [4, 5, 6]
    assert np.array_equal(found.images[:4], _images(4, 0))
    assert np.array_equal(found.images[4:], _images(3, 1))
    understood = _find(tmp_path).understood
    assert understood is not None
    assert understood.left_out == ("extra_32x32.mat (name it to train on it)",)
    assert len(_open(tmp_path / "extra_32x32.mat").names) == 2


def test_a_mat_file_without_images_is_refused_by_its_variables(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"pictures": np.zeros(3)})

    with pytest.raises(DataError, match=r"has the variables pictures; wanted are X \(H, W, C, N\)"):
        _find(tmp_path / "a.mat")


def _stl10(folder: Path) -> np.ndarray:
    """Writes STL-10's files, each channel column by column, and returns all labelled images."""
    folder.mkdir(parents=True, exist_ok=True)
    images = _images(14, size=96)
    for split, part in (("train", images[:10]), ("test", images[10:])):
        part.transpose(0, 3, 2, 1).tofile(folder / f"{split}_X.bin")
        (np.arange(len(part)) % 10 + 1).astype(np.uint8).tofile(folder / f"{split}_y.bin")
    _images(3, size=96).tofile(folder / "unlabeled_X.bin")
    (folder / "fold_indices.txt").write_text("0 1 2\n")
    return images


def test_stl10_stands_upright_without_its_unlabelled_images(tmp_path: Path) -> None:
    images = _stl10(tmp_path / "stl10_binary")

    found = _open(tmp_path)

    assert np.array_equal(found.images, images)
    assert found.classes[:3] == ("airplane", "bird", "car")
    assert found.splits["test"].tolist() == [10, 11, 12, 13]
    understood = _find(tmp_path).understood
    assert understood is not None
    assert "left out: 3 unlabelled images, the folds of fold_indices.txt" in understood.line()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train_X.bin", lambda content: content[:-1], "train_X.bin is torn"),
        ("train_X.bin", lambda content: content + content, "train_X.bin is torn"),
        ("test_y.bin", lambda content: b"\x0b" + content[1:], "its labels are not 1 to 10"),
        ("test_y.bin", lambda content: b"", "is torn"),
    ],
)
def test_a_lying_file_of_stl10_is_refused(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    _stl10(tmp_path)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))

    with pytest.raises(DataError, match=message):
        _find(tmp_path)


def _pcam(folder: Path, **options: object) -> None:
    for seed, (split, count) in enumerate((("train", 6), ("valid", 4), ("test", 2))):
        name = f"camelyonpatch_level_2_split_{split}"
        with h5py.File(folder / f"{name}_x.h5", "w") as file:
            file.create_dataset("x", data=_images(count, seed), **options)
        with h5py.File(folder / f"{name}_y.h5", "w") as file:
            labels = np.arange(count, dtype=np.uint8) % 2
            file.create_dataset("y", data=labels.reshape(count, 1, 1, 1), **options)
    with h5py.File(folder / "camelyonpatch_level_2_split_train_mask.h5", "w") as file:
        file.create_dataset("mask", data=np.zeros((6, 32, 32, 1), np.uint8))


@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "chunks": True}])
def test_pcam_is_read_from_its_six_files(tmp_path: Path, options: dict[str, object]) -> None:
    _pcam(tmp_path, **options)

    found = _open(tmp_path)

    assert {name: index.tolist() for name, index in found.splits.items()} == {
        "train": [0, 1, 2, 3, 4, 5],
        "validation": [6, 7, 8, 9],
        "test": [10, 11],
    }
    assert np.array_equal(found.images[6:10], _images(4, 1))
    assert found.labels.tolist() == [0, 1] * 6


def test_one_hdf5_file_with_named_arrays_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for split, seed in (("train", 0), ("test", 1)):
            file[f"{split}_images"] = _images(seed=seed)
            file[f"{split}_labels"] = np.arange(6) % 3

    assert _open(tmp_path / "a.hdf5").splits["test"].tolist() == list(range(6, 12))


def test_hdf5_files_that_lead_elsewhere_or_claim_too_much_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(6 * 3072))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        outside = [(str(tmp_path / "secret"), 0, 6 * 3072)]
        file.create_dataset("images", (6, 32, 32, 3), "u1", external=outside)
        file["labels"] = np.arange(6) % 2
    assert "lies in other files" in _refusal(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (10**9, 32, 32, 3), "u1", chunks=(1, 32, 32, 3))
        file["labels"] = np.arange(6) % 2
    assert "is larger than the file can hold" in _refusal(path)
    with h5py.File(path, "w") as file:
        file["images"] = h5py.ExternalLink("other.h5", "/images")
        file["labels"] = np.arange(6) % 2
    assert "has the arrays labels; wanted are" in _refusal(path)
    (tmp_path / "a.h5.gz").write_bytes(b"")
    path.unlink()
    assert "unpack it first: gunzip a.h5.gz" in _refusal(tmp_path)


def test_a_missing_format_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pcam(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)

    assert "h5py, which is not installed: pip install 'ravine[hdf5]'" in _refusal(tmp_path)


def _cifar(folder: Path, names: tuple[str, ...] = ("data_batch_1", "test_batch")) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        batch = {b"data": _images().reshape(6, 3072), b"labels": [0, 1, 2, 3, 4, 9]}
        (folder / name).write_bytes(pickle.dumps(batch))


def test_the_folder_above_the_batches_of_cifar_can_be_named(tmp_path: Path) -> None:
    _cifar(tmp_path / "cifar-10-python" / "cifar-10-batches-py")
    assert _find(tmp_path).classes[9] == "truck"
    assert _find(tmp_path / "cifar-10-python").classes[9] == "truck"

    _cifar(tmp_path / "cifar-100-python", ("data_batch_1",))
    assert "two sets; name the one to train on" in _refusal(tmp_path)


def test_the_archive_next_to_the_batches_of_cifar_does_not_matter(tmp_path: Path) -> None:
    _cifar(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")

    assert len(_find(tmp_path).names) == 12


def test_the_test_batch_of_cifar_alone_is_not_trained_on(tmp_path: Path) -> None:
    _cifar(tmp_path, ("test_batch",))

    with pytest.raises(DataError, match="has no training split, only"):
        _open(tmp_path)


@pytest.mark.parametrize(
    "meta", [[1, 2], {"label_names": 3}, {"label_names": None}, "text", {"label_names": [b"\xff"]}]
)
def test_odd_names_of_cifar_s_classes_give_no_traceback(tmp_path: Path, meta: object) -> None:
    _cifar(tmp_path)
    (tmp_path / "batches.meta").write_bytes(pickle.dumps(meta))

    assert _refusal(tmp_path) in ("", f"{tmp_path / 'batches.meta'} holds no names of classes")


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    _svhn(folder / "a.mat", 0, [1, 2, 3])
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("images", data=_images(3), chunks=True, compression="gzip")
        file["labels"] = np.arange(3)
    return {name: (folder / name).read_bytes() for name in ("a.mat", "a.h5")}


@pytest.mark.parametrize("name", ["a.mat", "a.h5"])
@settings(max_examples=60)
@given(data=st.data())
def test_bits_that_flip_and_ends_that_are_lost_never_give_a_traceback(
    tmp_path: Path, whole_files: dict[str, bytes], name: str, data: st.DataObject
) -> None:
    content = bytearray(whole_files[name])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            # The first bytes hold most of what can be wrong.
            at = data.draw(st.integers(0, min(len(content), 3000) - 1))
            content[at] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / name).write_bytes(bytes(content))

    said = _refusal(tmp_path / name)

    assert "\n" not in said
    assert len(said) <= 200 + len(str(tmp_path))
