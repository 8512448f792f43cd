"""Images and what packs them: tar, zip, npz, IDX, and image files of many modes, torn or lying."""

import gzip
import io
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from fuzzing.case import Case
from fuzzing.fixtures import Fixtures
from fuzzing.odd import data_words, torn
from fuzzing.oracles import of_data

_DTYPES = ("uint8", "uint16", "int64", "float32", "float64", "bool", "complex64", "U3", "int8")
_SHAPES = ((30, 8, 8), (30, 8, 8, 3), (30, 3, 8, 8), (30, 64), (30, 0, 0), (30,), (0, 8, 8), ())
_NAMES = ("images", "labels", "x_train", "y_train", "x_test", "y_test", "arr_0", "arr_1", "classes")
_MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK", "I", "F", "LA", "YCbCr", "I;16")


def archive_case(chance: random.Random, fixtures: Fixtures, folder: Path) -> Case:
    """Returns a short training on one odd file, or on a tree with odd images."""
    name = chance.choice(list(_KINDS))
    path = folder / f"data{name}"
    _KINDS[name](chance, fixtures, path)
    if path.is_file() and chance.random() < 0.3:
        path.write_bytes(torn(chance, path.read_bytes()))
    words = data_words(chance, path.name)
    return Case(words=words, wrong=lambda at, text: of_data(words, at, text))


def _npz(chance: random.Random, _: Fixtures, path: Path) -> None:
    arrays = {"images": _array(chance), "labels": np.arange(30) % 3}
    for _ in range(chance.randint(0, 2)):
        arrays[chance.choice(_NAMES)] = _array(chance)
    if chance.random() < 0.2:
        arrays.pop(chance.choice(list(arrays)))
    np.savez(path, **arrays)
    if chance.random() < 0.15:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(chance.choice(("x", "images.npy", "../x.npy", "a.npy")), b"no array")


def _array(chance: random.Random) -> np.ndarray:
    shape = chance.choice(_SHAPES) if chance.random() < 0.4 else (30, 8, 8)
    drawn = np.random.default_rng(chance.randrange(1000)).random(shape)
    kind = chance.choice(_DTYPES) if chance.random() < 0.5 else "uint8"
    scale = chance.choice((1, 1.0000001, 1.5, 2, 255, 256, 4095, 1e30, np.nan, -1))
    if kind == "U3":
        return np.full(shape, "cat")
    with np.errstate(all="ignore"):
        return (drawn * (255 if kind == "uint8" else scale)).astype(kind)


def _idx(chance: random.Random, _: Fixtures, path: Path) -> None:
    path.mkdir()
    drawn = np.random.default_rng(0)
    for prefix, count in (("train", 30), ("t10k", 10)):
        images = drawn.integers(0, 256, (count, 8, 8), dtype=np.uint8).tobytes()
        labels = (np.arange(count) % 3).astype(np.uint8).tobytes()
        dims = [chance.choice((count, 0, 2**31, count + 1)) if chance.random() < 0.2 else count]
        head = struct.pack(">IIII", 0x803, *dims, 8, chance.choice((8, 8, 8, 0, 9, 2**31)))
        files = {"images-idx3": head + images, "labels-idx1": struct.pack(">II", 0x801, count)}
        files["labels-idx1"] += labels
        for name, content in files.items():
            if chance.random() < 0.1:
                continue
            whole = torn(chance, content) if chance.random() < 0.15 else content
            packed = chance.random() < 0.3
            ending = ".gz" if packed else ""
            data = gzip.compress(whole) if packed else whole
            (path / f"{prefix}-{name}-ubyte{ending}").write_bytes(data)


def _tar(chance: random.Random, fixtures: Fixtures, path: Path) -> None:
    mode = chance.choice(("w", "w", "w:gz", "w:xz"))
    with tarfile.open(path, mode) as archive:
        for number, image in enumerate(sorted(fixtures.tree.rglob("*.png"))):
            name = chance.choice(("{0}", "./{0}", "/{0}", "../{0}", "train/{0}", "a/b/{0}"))
            archive.add(image, arcname=name.format(image.relative_to(fixtures.tree)))
            if chance.random() < 0.05:
                odd = tarfile.TarInfo(f"across/odd-{number}.png")
                odd.type = chance.choice((tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE))
                odd.linkname = chance.choice(("/etc/hostname", "..", odd.name, "nowhere"))
                archive.addfile(odd)


def _zip(chance: random.Random, fixtures: Fixtures, path: Path) -> None:
    with zipfile.ZipFile(path, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_LZMA))) as file:
        for image in sorted(fixtures.tree.rglob("*.png")):
            file.write(image, chance.choice(("", "../")) + str(image.relative_to(fixtures.tree)))


def _tree(chance: random.Random, _: Fixtures, path: Path) -> None:
    drawn = np.random.default_rng(chance.randrange(1000))
    for number in range(36):
        folder = path / "abc"[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        content = _image(chance, drawn)
        ending = chance.choice((".png", ".jpg", ".tif", ".bmp", ".gif", ".webp", ".JPEG"))
        whole = torn(chance, content) if chance.random() < 0.1 else content
        (folder / f"{number}{ending}").write_bytes(whole)


def _image(chance: random.Random, drawn: np.random.Generator) -> bytes:
    size = chance.choice(((8, 8), (8, 8), (8, 8), (1, 1), (1, 300), (9, 7)))
    image = Image.fromarray(drawn.integers(0, 256, (*size, 3), dtype=np.uint8))
    if chance.random() < 0.3:
        mode = chance.choice(_MODES)
        image = image.convert("L").convert("I;16") if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    for kind in (chance.choice(("png", "jpeg", "tiff", "bmp", "gif", "webp")), "tiff"):
        try:
            image.save(buffer, kind)
        except (OSError, KeyError, ValueError):  # the format has no such mode
            buffer = io.BytesIO()
            continue
        break
    return buffer.getvalue()


_KINDS = {".npz": _npz, "": _idx, ".tar": _tar, ".zip": _zip, "-tree": _tree, ".tar.gz": _tar}
