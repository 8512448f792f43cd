"""The leaderboard's data: the same image files for everyone, and test images without their labels.

A name is a data set and how many of its training images: `fashion`, `cifar`, `fashion-500`,
`cifar-5000`. Made once below a folder, as

    NAME/train/CLASS/00001.png    the training images, in class folders
    test/00001.png                all 10,000 test images, whose names say nothing
    truth.json                    their classes, by file name

A part of the training images has the same number of each class and is drawn by a seed of its own.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ravine.data.sources.idx import read_idx

SEED = 25  # of the images that a part has
FASHION = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Data as contestants get it.

    Attributes:
        name: such as `cifar-5000`.
        train: folder of class folders.
        test: folder of images whose names say nothing.
        truth: class by name of a test image.
        count: of training images.
    """

    name: str
    train: Path
    test: Path
    truth: Mapping[str, str]
    count: int


def prepare(name: str, sources: Mapping[str, Path], out: Path) -> Board:
    """Returns the data of this name, made below `out` if it is not there.

    Args:
        name: `fashion` or `cifar`, with `-N` for N training images.
        sources: by data set: a folder of four IDX files, or one with train/CLASS and test/CLASS.
        out: folder of all that is prepared.
    """
    parts = re.fullmatch(r"(fashion|cifar)(?:-([1-9]\d*))?", name)
    if parts is None:
        raise SystemExit(
            f"leaderboard: no data set {name!r}; fashion, cifar, fashion-500, cifar-5000"
        )
    source, number = parts[1], parts[2]
    if source not in sources:
        raise SystemExit(f"leaderboard: {name} needs --{source} FOLDER")
    whole = out / source
    if not (whole / "truth.json").exists():
        _write_whole(source, sources[source], whole)
    train = whole / "train"
    if number is not None:
        train = whole / number / "train"
        if not train.exists():
            _write_part(whole / "train", train, int(number))
    truth = json.loads((whole / "truth.json").read_text())
    count = sum(len(files) for _, _, files in os.walk(train))
    return Board(name=name, train=train, test=whole / "test", truth=truth, count=count)


def hold_out(board: Board, out: Path, *, share: float = 0.1) -> Board:
    """Returns a board whose test images are a share of the training images: for tuning trials."""
    train, test, truth = out / "train", out / "test", {}
    for folder in sorted(board.train.iterdir()):
        files = sorted(folder.iterdir())
        drawn = np.random.default_rng(SEED + 1).permutation(len(files))
        held = set(drawn[: max(1, round(share * len(files)))].tolist())
        for place, file in enumerate(files):
            target = train / folder.name / file.name
            if place in held:
                target = test / f"{len(truth):05d}{file.suffix}"
                truth[target.name] = folder.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    count = board.count - len(truth)
    return Board(name=f"{board.name}, held out", train=train, test=test, truth=truth, count=count)


def _write_whole(source: str, folder: Path, out: Path) -> None:
    """Writes all images; the test images in an order that says nothing of their classes."""
    shutil.rmtree(out, ignore_errors=True)
    images = {"fashion": _fashion, "cifar": _cifar}[source]
    for number, (label, image) in enumerate(images(folder, "train")):
        _put(image, out / "train" / label / f"{number:05d}")
    tests = list(images(folder, "test"))
    truth = {}
    for number, place in enumerate(np.random.default_rng(SEED).permutation(len(tests)).tolist()):
        label, image = tests[place]
        truth[_put(image, out / "test" / f"{number:05d}").name] = label
    (out / "truth.json").write_text(json.dumps(truth))


def _fashion(folder: Path, split: str) -> Iterator[tuple[str, Image.Image]]:
    part = {"train": "train", "test": "t10k"}[split]
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    for pixels, label in zip(images, labels.tolist(), strict=True):
        yield FASHION[label], Image.fromarray(pixels)


def _cifar(folder: Path, split: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((folder / split).glob("*/*.jpg")):
        yield path.parent.name, path


def _put(image: Image.Image | Path, target: Path) -> Path:
    """Writes an image without its ending, and returns the file: files are copied as they are."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, Path):
        target = target.with_suffix(image.suffix)
        shutil.copyfile(image, target)
        return target
    target = target.with_suffix(".png")
    image.save(target)
    return target


def _write_part(whole: Path, out: Path, count: int) -> None:
    """Copies the same number of images of each class."""
    folders = sorted(whole.iterdir())
    each, rest = divmod(count, len(folders))
    if rest:
        raise SystemExit(f"leaderboard: {count} images are not as many of each of {len(folders)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix="unfinished-", dir=out.parent))
    for folder in folders:
        files = sorted(folder.iterdir())
        (beside / folder.name).mkdir(parents=True)
        for place in np.random.default_rng(SEED).permutation(len(files))[:each].tolist():
            shutil.copyfile(files[place], beside / folder.name / files[place].name)
    try:
        beside.rename(out)
    except OSError:  # another process has made it meanwhile
        shutil.rmtree(beside)
