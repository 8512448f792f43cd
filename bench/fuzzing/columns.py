"""Parquet, HDF5 and MATLAB files: odd types of columns and arrays, missing and torn parts."""

import io
import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
from PIL import Image

from fuzzing.case import Case
from fuzzing.fixtures import Fixtures, stripes
from fuzzing.odd import data_words, torn
from fuzzing.oracles import of_data


def column_case(chance: random.Random, _: Fixtures, folder: Path) -> Case:
    """Returns a short training on one file with odd columns."""
    ending = chance.choice(list(_KINDS))
    path = folder / f"data{ending}"
    _KINDS[ending](chance, path)
    if chance.random() < 0.2:
        path.write_bytes(torn(chance, path.read_bytes()))
    words = data_words(chance, path.name)
    return Case(words=words, wrong=lambda at, text: of_data(words, at, text))


def _png(kind: int, drawn: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(stripes(kind, drawn)).save(buffer, "png")
    return buffer.getvalue()


def _parquet(chance: random.Random, path: Path) -> None:
    drawn = np.random.default_rng(0)
    images = [_png(number % 3, drawn) for number in range(30)]
    forms: dict[str, list[Any]] = {
        "structs": [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(images)],
        "bytes": images,
        "paths": [f"{number}.png" for number in range(30)],
        "empty": [{"bytes": None, "path": None}] * 30,
        "numbers": list(range(30)),
        "torn": [{"bytes": torn(chance, data), "path": "x"} for data in images],
    }
    labels: dict[str, list[Any]] = {
        "numbers": [number % 3 for number in range(30)],
        "names": ["abc"[number % 3] for number in range(30)],
        "nulls": [None, 0, 1] * 10,
        "floats": [0.5, 1.0, float("nan")] * 10,
        "lists": [[0], [1], []] * 10,
        "negative": [-1, 0, 2**40] * 10,
        "bytes": [b"a", b"b", b"\xff"] * 10,
    }
    chosen = "structs" if chance.random() < 0.5 else chance.choice(list(forms))
    columns = {chance.choice(("image", "image", "image", "img", "x")): forms[chosen]}
    for _ in range(chance.choice((1, 1, 1, 1, 0, 2))):
        kind = chance.choice(("numbers", "names", *labels))
        columns[chance.choice(("label", "label", "label", "fine_label", "y"))] = labels[kind]
    if chance.random() < 0.1:
        columns = {name: values[:0] for name, values in columns.items()}
    table = pa.table(columns)
    if chance.random() < 0.2:
        text = chance.choice(("{", "[]", '{"info": {"features": 3}}', '{"info": {}}', "\udcff"))
        table = table.replace_schema_metadata({"huggingface": text.encode("utf-8", "replace")})
    pq.write_table(table, path, compression=chance.choice(("snappy", "none", "gzip")))


def _arrays(chance: random.Random) -> dict[str, Any]:
    drawn = np.random.default_rng(chance.randrange(1000))
    shapes = ((30, 8, 8), (30, 8, 8, 3), (8, 8, 3, 30), (30, 64), (30, 0, 8), (7,))
    shape = chance.choice(shapes[1:3] if chance.random() < 0.6 else shapes)
    kind = chance.choice(("uint8", "uint8", "float32", "float64", "int16", "uint16"))
    images = (drawn.random(shape) * chance.choice((1, 1.00001, 2, 255))).astype(kind)
    count = chance.choice((*[30] * 8, 29, 0))
    labels = (np.arange(count) % 3).astype(chance.choice(("uint8", "int64", "float32")))
    usual = (("x", "y"), ("X", "y"), ("images", "labels"))
    names = chance.choice(usual * 3 + (("a", "b"), ("x", "x2")))
    found: dict[str, Any] = dict(zip(names, (images, labels), strict=True))
    if chance.random() < 0.2:
        found[chance.choice(("x_test", "meta", "y_train"))] = images
    return found


def _hdf5(chance: random.Random, path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name, values in _arrays(chance).items():
            kind = chance.random()
            if kind < 0.1:
                file.create_group(name)
            elif kind < 0.15:
                file[name] = h5py.ExternalLink("/etc/hostname", "/x")
            elif kind < 0.2:
                file[name] = h5py.SoftLink(f"/{name}")
            else:
                file.create_dataset(name, data=values)


def _mat(chance: random.Random, path: Path) -> None:
    arrays = _arrays(chance)
    if chance.random() < 0.2:
        arrays[chance.choice(("X", "y", "z"))] = chance.choice(("text", {"a": 1}, [[1], ["b"]]))
    scipy.io.savemat(path, arrays, do_compression=chance.random() < 0.5)


_KINDS = {".parquet": _parquet, ".h5": _hdf5, ".mat": _mat}
