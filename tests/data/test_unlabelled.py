"""Images to predict that lie in arrays, parquets and tables, with or without labels."""

import gzip
import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.dataset import Preprocessing, Unlabelled
from ravine.data.network_images import open_unlabelled

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
OTHER = np.random.default_rng(1).integers(0, 256, (4, 8, 8), dtype=np.uint8)
FORM = Preprocessing(image_size=8, channels=1, mean=(0.5,), std=(0.5,))


def opened(path: Path, **options: object) -> Unlabelled:
    return open_unlabelled([path], preprocessing=FORM, **options)  # type: ignore[arg-type]


def idx(path: Path, images: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b"\0\0\x08\x03" + struct.pack(">3I", *images.shape) + images.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def npy(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def h5(path: Path, **arrays: np.ndarray) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def mat(path: Path) -> Path:
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(path, {"X": PIXELS.transpose(1, 2, 0)[:, :, None, :].repeat(3, axis=2)})
    return path


def png(pixels: np.ndarray) -> bytes:
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "PNG")
    return made.getvalue()


def parquet(path: Path, images: np.ndarray, **columns: object) -> Path:
    arrow = pytest.importorskip("pyarrow")
    path.parent.mkdir(parents=True, exist_ok=True)
    made = arrow.table({"image": [png(one) for one in images], **columns})
    pytest.importorskip("pyarrow.parquet").write_table(made, path)
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: npz(folder / "a.npz", images=PIXELS),
        lambda folder: npz(folder / "a.npz", arr_0=PIXELS),
        lambda folder: npz(folder / "a.npz", x_train=OTHER, y_train=np.zeros(4), x_test=PIXELS),
        lambda folder: npz(folder / "a.npz", x=PIXELS[..., None] / 255.0),
        lambda folder: npy(folder / "x.npy", PIXELS),
        lambda folder: idx(folder / "t10k-images-idx3-ubyte", PIXELS),
        lambda folder: idx(folder / "any.idx3-ubyte.gz", PIXELS),
        lambda folder: idx(folder / "t10k-images-idx3-ubyte.gz", PIXELS).parent,
        lambda folder: h5(folder / "a.h5", x=PIXELS, y=np.zeros(3)),
        lambda folder: mat(folder / "test_32x32.mat"),
    ],
)
def test_images_in_arrays_are_predicted_row_by_row(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    found = opened(make(tmp_path))
    assert found.by_row
    assert [name.rpartition("[")[2] for name in found.names] == ["0]", "1]", "2]"]
    assert np.array_equal(np.asarray(found.images[np.arange(3)])[..., 0], PIXELS)


def test_of_several_splits_the_test_is_predicted_and_the_others_are_named(tmp_path: Path) -> None:
    idx(tmp_path / "d/train-images-idx3-ubyte", OTHER)
    idx(tmp_path / "d/t10k-images-idx3-ubyte", PIXELS)
    found = opened(tmp_path / "d")
    assert len(found.names) == 3
    assert found.notes == (
        "t10k-images-idx3-ubyte[0] … are predicted, not train-images-idx3-ubyte",
    )


def test_arrays_that_no_name_tells_apart_are_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", images=PIXELS, imgs=OTHER)
    with pytest.raises(DataError, match="has images in images, imgs; keep those to predict"):
        opened(path)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\1\0", b"PK\3\4", b"\0\0\x08\x03\0\0\0\x09"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "a.mat", "a-idx3-ubyte"])
def test_a_torn_file_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError):
        opened(tmp_path / name)


def test_a_parquet_needs_no_labels(tmp_path: Path) -> None:
    found = opened(parquet(tmp_path / "t.parquet", PIXELS))
    assert list(found.names) == [f"t.parquet[{row}]" for row in range(3)]
    assert np.array_equal(np.asarray(found.images[np.arange(3)])[..., 0], PIXELS)


def test_the_test_shards_of_a_folder_are_predicted(tmp_path: Path) -> None:
    parquet(tmp_path / "data/train-00000-of-00001.parquet", OTHER, label=[0, 1, 0, 1])
    parquet(tmp_path / "data/test-00000-of-00001.parquet", PIXELS)
    found = opened(tmp_path / "data")
    assert len(found.names) == 3
    assert "train-00000-of-00001.parquet" in found.notes[0]


def test_the_column_of_the_training_is_taken_where_the_parquet_has_it(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", PIXELS, other=[png(one) for one in OTHER[:3]])
    with pytest.raises(DataError, match="--image-column"):
        opened(path)
    found = opened(path, trained={"image_column": "other"})
    assert np.array_equal(np.asarray(found.images[np.arange(3)])[..., 0], OTHER[:3])


def test_a_list_of_names_needs_no_header(tmp_path: Path) -> None:
    for number, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "list.txt").write_text("2.png\n0.png\n")
    assert list(opened(tmp_path / "list.txt").names) == ["2.png", "0.png"]
    (tmp_path / "list.tsv").write_text("name\tphoto\nx\t1\n")
    found = opened(tmp_path / "list.tsv", trained={"image_column": "photo"})
    assert list(found.names) == ["1"]


def test_a_table_of_another_folder_finds_the_images_of_the_training(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(PIXELS[0]).save(tmp_path / "images/0.png")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/test.csv").write_text("id\n0.png\n")
    with pytest.raises(DataError, match="name their folder: --images"):
        opened(tmp_path / "lists/test.csv")
    for options in (
        {"images": str(tmp_path / "images")},
        {"trained": {"data": str(tmp_path / "images")}},
    ):
        assert list(opened(tmp_path / "lists/test.csv", **options).names) == ["0.png"]
