"""Tables whose cells are pixels: Kaggle's digits, FER2013, sign language MNIST, EMNIST as CSV."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.dataset import Dataset, Preprocessing
from ravine.data.discovery import find_collection
from ravine.data.network_images import open_unlabelled
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings


def _find(path: Path, **options: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(path), **options}))


def _open(path: Path) -> Dataset:
    return open_dataset(DataSettings(data=str(path), validation=0), seed=0)


def _images(count: int, side: int = 28, seed: int = 0) -> np.ndarray:
    """Random images; the first has one bright pixel, in row 1 and column 3."""
    images = np.random.default_rng(seed).integers(0, 256, (count, side, side), dtype=np.uint8)
    images[0] = 0
    images[0, 1, 3] = 255
    return images


def digits(path: Path, images: np.ndarray, labels: list[object] | None, header: str = "") -> Path:
    """Writes a table with a column for each pixel, the label first if there is one."""
    flat = images.reshape(len(images), -1)
    names = header.split(",") if header else [f"pixel{n}" for n in range(flat.shape[1])]
    lines = [",".join((["label"] if labels is not None else []) + names)]
    for row, pixels in enumerate(flat):
        cells = ([] if labels is None else [str(labels[row])]) + [str(v) for v in pixels]
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_kaggle_s_digits_are_28_by_28_row_by_row_and_named_by_their_rows(tmp_path: Path) -> None:
    images = _images(5)
    digits(tmp_path / "train.csv", images, [7, 1, 7, 0, 1])

    found = _open(tmp_path / "train.csv")

    assert found.images.shape == (5, 28, 28, 1)
    assert np.argwhere(found.images[0, :, :, 0]).tolist() == [[1, 3]]
    assert np.array_equal(found.images[..., 0], images)
    assert list(found.names) == ["1", "2", "3", "4", "5"]
    assert [found.classes[label] for label in found.labels] == ["7", "1", "7", "0", "1"]


def test_the_folder_of_a_competition_trains_on_train_and_leaves_out_test(tmp_path: Path) -> None:
    digits(tmp_path / "train.csv", _images(5), [0, 1, 0, 1, 0])
    digits(tmp_path / "test.csv", _images(3), None)
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n2,0\n3,0\n")

    found = _find(tmp_path)

    assert len(found.names) == 5
    assert found.understood is not None
    assert found.understood.left_out == ("test.csv, 3 rows without labels",)


def test_rows_without_labels_can_be_predicted_by_their_numbers(tmp_path: Path) -> None:
    images = _images(3)
    preprocessing = Preprocessing(image_size=28, channels=1, mean=(0.5,), std=(0.5,))

    found = open_unlabelled(
        [digits(tmp_path / "test.csv", images, None)], preprocessing=preprocessing
    )

    assert list(found.names) == ["1", "2", "3"]
    assert np.array_equal(found.images[:, :, :, 0], images)


def test_sign_language_has_a_table_for_each_split(tmp_path: Path) -> None:
    digits(tmp_path / "sign_mnist_train.csv", _images(4, seed=1), [3, 3, 24, 24])
    digits(tmp_path / "sign_mnist_test.csv", _images(2, seed=2), [24, 3])

    found = _open(tmp_path)

    assert found.classes == ("3", "24")
    assert found.splits["train"].tolist() == [0, 1, 2, 3]
    assert found.splits["test"].tolist() == [4, 5]
    assert np.array_equal(found.images[4:, :, :, 0], _images(2, seed=2))


def _faces(path: Path, usage: list[str], header: str = "emotion,pixels,Usage") -> np.ndarray:
    images = _images(len(usage), side=48)
    lines = [header]
    for row, (image, said) in enumerate(zip(images, usage, strict=True)):
        cells = {"emotion": str(row % 3), "Usage": said, "pixels": " ".join(map(str, image.flat))}
        lines.append(",".join(cells[name.strip()] for name in header.split(",")))
    path.write_text("\n".join(lines))
    return images


@pytest.mark.parametrize("header", ["emotion,pixels,Usage", "emotion, Usage, pixels"])
def test_fer2013_keeps_its_usage_as_the_split(tmp_path: Path, header: str) -> None:
    usage = ["Training"] * 6 + ["PublicTest"] * 2 + ["PrivateTest"]
    images = _faces(tmp_path / "fer2013.csv", usage, header)

    found = _open(tmp_path / "fer2013.csv")

    assert np.argwhere(found.images[0, :, :, 0]).tolist() == [[1, 3]]
    assert np.array_equal(found.images[..., 0], images)
    assert {name: index.tolist() for name, index in found.splits.items()} == {
        "train": [0, 1, 2, 3, 4, 5],
        "validation": [6, 7],
        "test": [8],
    }


def test_held_out_faces_alone_are_not_trained_on(tmp_path: Path) -> None:
    _faces(tmp_path / "fer2013.csv", ["PublicTest"] * 3 + ["PrivateTest"] * 3)

    with pytest.raises(DataError, match="has no training split, only"):
        _open(tmp_path / "fer2013.csv")


def test_a_table_without_a_header_has_its_label_first(tmp_path: Path) -> None:
    path = digits(tmp_path / "mnist.csv", _images(3), [5, 0, 5])
    path.write_text(path.read_text().partition("\n")[2])

    found = _open(path)

    assert found.classes == ("0", "5")
    assert np.array_equal(found.images[..., 0], _images(3))


def test_emnist_as_a_table_is_turned_upright(tmp_path: Path) -> None:
    path = digits(tmp_path / "emnist-letters-train.csv", _images(3), [1, 2, 1])

    assert np.argwhere(_open(path).images[0, :, :, 0]).tolist() == [[3, 1]]


@pytest.mark.parametrize(
    "header",
    [
        ",".join(f"{row}x{column}" for row in range(1, 9) for column in range(1, 9)),
        ",".join(str(n) for n in range(64)),
        ",".join(f"pixel_{n:03d}" for n in range(1, 65)),
    ],
)
def test_columns_of_pixels_are_known_by_their_numbers(tmp_path: Path, header: str) -> None:
    path = digits(tmp_path / "a.csv", _images(3, side=8), ["x", "y", "x"], header)

    found = _open(path)

    assert found.classes == ("x", "y")
    assert np.array_equal(found.images[..., 0], _images(3, side=8))


def test_the_label_may_stand_last_and_cells_in_quotes(tmp_path: Path) -> None:
    images = _images(3, side=8)
    lines = [";".join([f'"pixel{n}"' for n in range(64)] + ['"label"'])]
    lines += [";".join([f'"{v}"' for v in image.flat] + ['"cat"']) for image in images[:2]]
    lines += [";".join([f"{v}" for v in images[2].flat] + ["dog"])]
    (tmp_path / "a.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")

    found = _open(tmp_path / "a.csv")

    assert found.classes == ("cat", "dog")
    assert np.array_equal(found.images[..., 0], images)


def test_cells_between_0_and_1_become_bytes(tmp_path: Path) -> None:
    images = _images(3, side=8)

    found = _open(digits(tmp_path / "a.csv", images / 255, [0, 1, 0]))

    assert np.array_equal(found.images[..., 0], images)


def _change(path: Path, line: int, old: str, new: str) -> None:
    lines = path.read_text().splitlines()
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        (3, "1,", "1,,", "line 3: 66 cells, but the first line has 65"),
        (3, "1,", ",", "line 3: no label; fill it in"),
        (2, ",255,", ",256,", "line 2: a pixel is not in 0..255"),
        (2, ",255,", ",-7,", "line 2: a pixel is not in 0..255"),
        (2, ",255,", ",x,", "line 2: a cell is no number"),
        (2, ",255,", ",nan,", "line 2: a pixel is not in 0..255"),
        (2, ",255,", ",,", "line 2: a cell is no number"),
        (1, "pixel3,", "pixel9,", "columns of pixels are not in order"),
        (1, "label", "weight", "name it with --label-column, one of: weight"),
    ],
)
def test_a_row_that_is_no_image_is_refused_by_its_line(
    tmp_path: Path, line: int, old: str, new: str, message: str
) -> None:
    path = digits(tmp_path / "a.csv", _images(4, side=8), [0, 1, 0, 1])
    _change(path, line, old, new)

    with pytest.raises(DataError, match=message) as found:
        _open(path)
    assert len(str(found.value)) - len(str(tmp_path)) <= 200


def test_pixels_that_are_no_square_are_refused_with_the_remedy(tmp_path: Path) -> None:
    path = digits(tmp_path / "a.csv", np.zeros((2, 8, 9), np.uint8), [0, 1])
    with pytest.raises(DataError, match="72 pixels of an image are no square; save them"):
        _find(path)
    path = digits(tmp_path / "a.csv", np.zeros((2, 8, 8, 3), np.uint8), [0, 1])
    with pytest.raises(DataError, match="192 pixels of an image are colours in an order that not"):
        _find(path)
    _faces(tmp_path / "f.csv", ["Training", "Training"])
    _change(tmp_path / "f.csv", 3, " ", "")
    with pytest.raises(DataError, match="line 3: 2303 pixels, but the first row has 2304"):
        _open(tmp_path / "f.csv")


def test_two_tables_of_which_none_is_for_training_are_refused(tmp_path: Path) -> None:
    for name in ("part1.csv", "part2.csv"):
        digits(tmp_path / name, _images(2, side=8), [0, 1])

    with pytest.raises(DataError, match="do not say which is for training"):
        _find(tmp_path)


def test_four_thousand_digits_are_read_in_a_second(
    tmp_path: Path, least_seconds: Callable[[Callable[[], object]], float]
) -> None:
    images = _images(4200)
    flat = images.reshape(4200, -1)
    with (tmp_path / "train.csv").open("w") as file:
        file.write("label," + ",".join(f"pixel{n}" for n in range(784)) + "\n")
        np.savetxt(file, np.insert(flat.astype(int), 0, np.arange(4200) % 10, 1), "%d", ",")

    def read() -> None:
        found = _find(tmp_path / "train.csv")
        assert found.pixels is not None
        for _ in found.pixels:
            pass

    assert least_seconds(read) < 1.5


@settings(max_examples=60)
@given(data=st.data())
def test_bytes_that_change_and_ends_that_are_lost_never_give_a_traceback(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = digits(tmp_path / "whole.csv", _images(3, side=8), [0, 1, 0])
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 5))):
        if content:
            at = data.draw(st.integers(0, len(content) - 1))
            content[at] = data.draw(st.sampled_from(list(b'\0\n\r",;-.eE\xff x9')))
    path = tmp_path / "changed.csv"
    path.write_bytes(bytes(content))

    said = ""
    try:
        found = _find(path)
        assert found.pixels is None or len(list(found.pixels)) == len(found.names)
    except DataError as error:
        said = str(error)

    assert "\n" not in said
