"""Parquets as the Hugging Face hub keeps them, written by pyarrow."""

import io
import json
import os
import sys
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
from ravine.data.dataset import Dataset
from ravine.data.discovery import find_collection
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings


def _pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)


def _png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(_pixels(seed)).save(file, "PNG")
    return file.getvalue()


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def hub_table(
    seeds: list[int], labels: list[Any], names: list[str] | None = None, **more: Any
) -> pa.Table:
    """A table as `datasets` writes it: image struct, label, features in the schema's metadata."""
    rows = [{"bytes": _png(seed), "path": f"{seed}.png"} for seed in seeds]
    columns = {"image": pa.array(rows, IMAGE), "label": pa.array(labels), **more}
    table = pa.table(columns)
    label: dict[str, Any] = {"names": names, "_type": "ClassLabel"}
    if names is None:
        label = {"dtype": "int64", "_type": "Value"}
    features = {"image": {"_type": "Image"}, "label": label}
    info = {"info": {"features": features}}
    return table.replace_schema_metadata({"huggingface": json.dumps(info)})


def _find(path: Path, **options: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(path), **options}))


def _open(path: Path, **options: object) -> Dataset:
    chosen = {"data": str(path), "validation": 0, **options}
    return open_dataset(DataSettings.of(chosen), seed=0)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_images_and_the_schema_s_class_names_are_read_from_a_file(
    tmp_path: Path, compression: str, cache: bool
) -> None:
    table = hub_table([0, 1, 2, 3], [2, 0, 2, 0], ["zebra", "cat", "ant"])
    pq.write_table(table, tmp_path / "a.parquet", compression=compression, row_group_size=3)

    found = _open(tmp_path / "a.parquet", cache=cache)

    assert found.classes == ("zebra", "ant")  # the schema's order; no image is a cat
    assert found.labels.tolist() == [1, 0, 1, 0]
    assert found.names[1] == "a.parquet/1.png"
    assert all(np.array_equal(found.images[i], _pixels(i)) for i in range(4))


@pytest.mark.parametrize(
    "names",
    [
        ["data/train-00000-of-00002", "data/train-00001-of-00002", "data/test-00000-of-00001"],
        ["default/train/0000", "default/train/0001", "default/test/0000"],
        ["mnist-train-0", "mnist-train-1", "mnist-test"],
    ],
)
def test_the_split_is_in_the_names_of_the_shards(tmp_path: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(hub_table([2 * number, 2 * number + 1], [0, 1], ["a", "b"]), path)

    found = _open(tmp_path)

    assert {name: index.tolist() for name, index in found.splits.items()} == {
        "train": [0, 1, 2, 3],
        "test": [4, 5],
    }
    assert all(np.array_equal(found.images[i], _pixels(i)) for i in range(6))


def test_text_numbers_and_dictionaries_are_classes(tmp_path: Path) -> None:
    for labels, classes in (
        (["b", "a"], ("a", "b")),
        ([10, 9], ("9", "10")),
        (pa.array(["b", "a"]).dictionary_encode(), ("a", "b")),
        ([True, False], ("False", "True")),
    ):
        pq.write_table(hub_table([0, 1], labels), tmp_path / "a.parquet")
        assert _find(tmp_path / "a.parquet").classes == classes


def test_rows_without_a_label_or_an_image_are_left_out_and_counted(tmp_path: Path) -> None:
    table = hub_table([0, 1, 2, 3], [0, -1, None, 1], ["a", "b"])
    images = [{"bytes": _png(0), "path": None}] * 2 + [None, {"bytes": None, "path": "x.png"}]
    more = hub_table([4, 5, 6, 7], [0, 1, 0, 1], ["a", "b"])
    more = more.set_column(0, "image", pa.array(images, IMAGE))
    pq.write_table(table, tmp_path / "train-0.parquet")
    pq.write_table(more, tmp_path / "train-1.parquet")

    found = _find(tmp_path)

    assert len(found.names) == 4
    assert found.understood is not None
    assert found.understood.left_out == ("2 rows without an image", "2 rows without a label")
    assert found.unlabelled == ["train-0.parquet/1.png", "train-0.parquet/2.png"]


def test_missing_shards_are_counted(tmp_path: Path) -> None:
    pq.write_table(hub_table([0, 1], [0, 1]), tmp_path / "train-00001-of-00004.parquet")

    found = _find(tmp_path).understood

    assert found is not None
    assert found.left_out == ("3 shards that are not there",)


def test_two_sets_of_shards_and_odd_shards_are_refused_by_name(tmp_path: Path) -> None:
    table = hub_table([0, 1], [0, 1], ["a", "b"])
    for name in ("fine", "coarse"):
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "train-0.parquet")
    with pytest.raises(DataError, match=r"2 sets of parquets: 'coarse', 'fine'; name the folder"):
        _find(tmp_path)

    pq.write_table(table, tmp_path / "fine" / "more.parquet")
    with pytest.raises(DataError, match=r"more.parquet names no split, and others do"):
        _find(tmp_path / "fine")

    other = hub_table([0, 1], [0, 1], ["b", "a"])
    pq.write_table(other, tmp_path / "coarse" / "train-1.parquet")
    with pytest.raises(DataError, match=r"train-1.parquet has other columns or class names than"):
        _find(tmp_path / "coarse")


def test_two_columns_that_could_be_meant_are_named_with_their_option(tmp_path: Path) -> None:
    rows = pa.array([{"bytes": _png(s), "path": None} for s in (0, 1)], IMAGE)
    labels = {"fine_label": pa.array([3, 4]), "class": pa.array([0, 1])}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"img": rows, **labels}), path)

    with pytest.raises(DataError, match="labels in fine_label, class; name one of them with --la"):
        _find(path)
    assert _find(path, label_column="fine_label").classes == ("3", "4")
    pq.write_table(pa.table({"img": rows, "mask": rows, "class": labels["class"]}), path)
    with pytest.raises(DataError, match="images in img, mask; name one of them with --image-colum"):
        _find(path)
    assert _find(path, image_column="img").classes == ("0", "1")


def test_groups_come_from_a_column(tmp_path: Path) -> None:
    table = hub_table([0, 1, 2], [0, 1, 0], ["a", "b"], patient=pa.array(["x", "y", "x"]))
    pq.write_table(table, tmp_path / "a.parquet")

    assert _find(tmp_path / "a.parquet", group_column="patient").groups == ["x", "y", "x"]


def test_images_are_unpacked_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(hub_table([0, 1], [0, 1]), path)
    first = _find(path).files[0]
    assert _find(path).files[0] == first
    os.truncate(first.path, 10)
    assert _find(path).files[0] == first  # torn: made again

    pq.write_table(hub_table([2, 3], [0, 1]), path)
    os.utime(path, ns=(5, 5))
    assert np.array_equal(_open(path).images[0], _pixels(2))


def test_parquets_can_be_streamed(tmp_path: Path) -> None:
    pq.write_table(hub_table(list(range(8)), [0, 1] * 4), tmp_path / "a.parquet")

    found = _open(tmp_path / "a.parquet", stream="on", workers=1)

    assert np.array_equal(found.images[np.array([5, 2])], [_pixels(5), _pixels(2)])


def test_lists_of_labels_are_several_labels_by_the_names_of_the_schema(tmp_path: Path) -> None:
    of_list = {"feature": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "_type": "Sequence"}
    rows = hub_table([0, 1, 2, 3], [[1], [0, 1], [], None])
    features = {"info": {"features": {"label": of_list}}}
    pq.write_table(
        rows.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "a.parquet"
    )

    found = find_collection(DataSettings(data=str(tmp_path / "a.parquet")))

    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [[0, 1], [1, 1], [0, 0]]
    assert len(found.unlabelled) == 1


@pytest.mark.parametrize("kind", [int, float])
def test_rows_of_0_and_1_in_lists_are_no_lists_of_classes(tmp_path: Path, kind: type) -> None:
    rows = [[0, 1, 0], [1, 1, 0], [0, 0, 1]]
    pq.write_table(
        hub_table([0, 1, 2], [[kind(item) for item in row] for row in rows]), tmp_path / "a.parquet"
    )

    found = find_collection(DataSettings(data=str(tmp_path / "a.parquet")))

    assert found.classes == ("0", "1", "2")
    assert found.labels.tolist() == rows


def _plain(**columns: Any) -> pa.Table:
    return pa.table({name: pa.array(values) for name, values in columns.items()})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (_plain(text=["a"], label=[1]), "holds no images: wanted is a column of bytes"),
        (hub_table([0, 1], [[0], [0.5]]), "'label' holds '0.5' in a list"),
        (hub_table([0, 1], [[0], [7]], ["a", "b"]), "holds 7; the schema names 2 classes"),
        (hub_table([0, 1], [0.5, 1.0]), "holds double, which is no class"),
        (hub_table([0, 1], [0, 7], ["a", "b"]), "holds 7; the schema names 2 classes"),
        (hub_table([0, 1], [0, 1], ["a", "a"]), "gives two classes of 'label' the same name"),
        (_plain(image=[b"x"], what=[1]), "no column has a usual name for the label"),
        (hub_table([0, 1], [None, None], ["a", "b"]), "which is no class|no image with a label"),
        (hub_table([], []), "no class|no image with a label"),
    ],
)
def test_a_parquet_that_cannot_be_trained_on_is_refused_in_one_line(
    tmp_path: Path, table: pa.Table, message: str
) -> None:
    pq.write_table(table, tmp_path / "a.parquet")

    with pytest.raises(DataError, match=message) as found:
        _open(tmp_path / "a.parquet")
    assert len(str(found.value)) - len(str(tmp_path)) <= 200


def test_a_missing_pyarrow_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(hub_table([0, 1], [0, 1]), tmp_path / "a.parquet")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(DataError, match=r"pyarrow, which is not installed: pip install 'ravine"):
        _find(tmp_path / "a.parquet")


@settings(max_examples=80)
@given(data=st.data())
def test_bits_that_flip_and_ends_that_are_lost_never_give_a_traceback(
    tmp_path: Path, own_cache: Path, data: st.DataObject
) -> None:
    pq.write_table(hub_table([0, 1, 2], [0, 1, 0], ["a", "b"]), tmp_path / "whole.parquet")
    content = bytearray((tmp_path / "whole.parquet").read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 5))):
        if content:
            at = data.draw(st.integers(0, len(content) - 1))
            content[at] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.parquet"
    path.write_bytes(bytes(content))

    said = ""
    try:
        _find(path)
    except DataError as error:
        said = str(error)

    assert "\n" not in said
    assert len(said) <= 200 + len(str(tmp_path))
    assert not list(own_cache.glob(".*.part"))


def test_what_was_spooled_goes_when_its_parquet_changes_or_is_gone(
    tmp_path: Path, own_cache: Path
) -> None:
    def spools() -> set[str]:
        return {folder.name for folder in own_cache.glob("images-*")}

    for name in ("a", "b"):
        pq.write_table(hub_table([0, 1, 2, 3], [0, 1, 0, 1]), tmp_path / f"{name}.parquet")
        _find(tmp_path / f"{name}.parquet")
    first = spools()
    assert len(first) == 2
    _find(tmp_path / "a.parquet")
    assert spools() == first
    pq.write_table(hub_table([4, 5, 6, 7, 8], [0, 1, 0, 1, 1]), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").unlink()
    assert len(_find(tmp_path / "a.parquet").names) == 5
    assert len(spools()) == 1
    assert not spools() & first
