"""Which network a budget gets: accuracy by images, kind of data, network and epochs.

    make recipes FASHION=FOLDER CIFAR=FOLDER_OF_JPEG [ROWS="--minutes 40"]
    python bench/recipes.py --fashion FOLDER --cifar FOLDER [--kinds grey,colour] [--seeds 1]

Writes src/ravine/training/networks-by-evidence.json, which ships with the package, a cell as soon
as it is measured; what stands there is not measured again. The cheapest cells come first, so that
the table is of use whenever it is stopped. Every run has Ravine's defaults, a number of epochs and
one network, and is evaluated on 1,000 images of their own. Since cells are by epochs, they may be
measured on any machine at any load. Kinds of data:

    grey     Fashion-MNIST, 28 pixels a side
    colour   CIFAR-10, 32 pixels a side
    large    CIFAR-10 enlarged to 96 pixels a side
    pairs    two pictures of Fashion-MNIST in opposite corners of 56 pixels a side: 100 classes
"""

import argparse
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from leaderboard_data import Board, prepare
from PIL import Image
from recipes_page import write_page
from results import machine

import ravine
from ravine.training.network_evidence import Situation

TABLE = Path(ravine.__file__).parent / "training" / "networks-by-evidence.json"
TEST_IMAGES = 1000
SMALL = ("swift-1", "swift-2", "wrn-16-2")
# Fewer images are seen more often within a budget.
EPOCHS = {50: (16, 64, 256, 1024), 500: (4, 16, 64, 256), 5000: (1, 4, 16, 64)}
LARGE = ("swift-1", "wrn-10-1", "resnet-18")
# Seconds a run takes grow with images × epochs × size² × cost.
COST = {"wrn-10-1": 0.3, "swift-1": 1, "wrn-16-2": 1.5, "swift-2": 3.5,
        "wrn-16-4": 4, "resnet-18": 1.5}  # fmt: skip
Picture = tuple[str, Image.Image]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of data: its source, pixels a side, classes, networks, numbers of images."""

    source: str
    size: int
    classes: int
    channels: int
    networks: tuple[str, ...] = SMALL
    counts: tuple[int, ...] = (50, 500, 5000)


KINDS = {
    "grey": Kind(source="fashion", size=28, classes=10, channels=1),
    "colour": Kind(source="cifar", size=32, classes=10, channels=3),
    "large": Kind(
        source="cifar", size=96, classes=10, channels=3, networks=LARGE, counts=(50, 500)
    ),
    "pairs": Kind(source="fashion", size=56, classes=100, channels=1, counts=(500, 5000)),
}


def pictures(kind: Kind, files: list[tuple[str, Path]], count: int) -> Iterator[Picture]:
    """Yields `count` pictures of a kind with their class, as many of each class."""
    chance = np.random.default_rng(count)
    by_class: dict[str, list[Path]] = {}
    for label, path in files:
        by_class.setdefault(label, []).append(path)
    names = sorted(by_class)
    if kind.classes == len(names):
        for name in names:
            for path in by_class[name][: count // len(names)]:
                with Image.open(path) as image:
                    yield name, image.resize((kind.size, kind.size), Image.Resampling.BICUBIC)
        return
    for first, second in itertools.product(names, names):
        for _ in range(count // kind.classes):
            yield f"{first} and {second}", _pair(by_class[first], by_class[second], kind, chance)


def _pair(first: list[Path], second: list[Path], kind: Kind, chance: Any) -> Image.Image:
    canvas = Image.new("L", (kind.size, kind.size))
    half = kind.size // 2
    for corner, paths in (((0, 0), first), ((half, half), second)):
        with Image.open(paths[int(chance.integers(len(paths)))]) as image:
            canvas.paste(image, corner)
    return canvas


def folder_of(name: str, count: int, sources: dict[str, Path], out: Path) -> Path:
    """Returns a folder with train/CLASS and test/CLASS, made if it is not there."""
    kind, folder = KINDS[name], out / "recipes" / f"{name}-{count}"
    if folder.exists():
        return folder
    board = prepare(kind.source, sources, out / "data")
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for part, files, number in (
        ("train", _train_files(board), count),
        ("test", [(label, board.test / n) for n, label in board.truth.items()], TEST_IMAGES),
    ):
        for place, (label, image) in enumerate(pictures(kind, files, number)):
            path = unfinished / part / label / f"{place:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    unfinished.rename(folder)
    return folder


def _train_files(board: Board) -> list[tuple[str, Path]]:
    files = [(p.parent.name, p) for p in sorted(board.train.glob("*/*"))]
    order = np.random.default_rng(0).permutation(len(files)).tolist()
    return [files[place] for place in order]


def wanted(kinds: list[str]) -> list[tuple[float, str, int, str, int]]:
    """Returns the cells of the grid, the cheapest first: cost, kind, images, network, epochs."""
    return sorted(
        (
            count * epochs * COST[network] * (KINDS[kind].size / 28) ** 2,
            kind,
            count,
            network,
            epochs,
        )
        for kind in kinds
        for count in KINDS[kind].counts
        for network in KINDS[kind].networks
        for epochs in EPOCHS[count]
    )


def accuracy(folder: Path, network: str, epochs: int, seed: int, out: Path) -> float:
    """Returns the accuracy of one run on the images of test/."""
    shutil.rmtree(out, ignore_errors=True)
    run = ravine.train(
        str(folder), model=network, epochs=epochs, seed=seed, validation=0, out=str(out),
        show="none", convolution="guess", monitor=0, patience=0,
    )  # fmt: skip
    found = json.loads((Path(run.path) / "evaluation.json").read_text())
    assert (found["split"], found["count"]) == ("test", TEST_IMAGES), found["split"]
    return float(found["accuracy"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fashion", type=Path, required=True)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=40, help="of processor time, at most")
    parser.add_argument("--out", type=Path, default=Path("build/leaderboard"))
    parser.add_argument("--table", type=Path, default=TABLE, help="that of the package")
    asked = parser.parse_args()
    os.environ["RAVINE_CACHE"] = str((asked.out / "cache").resolve())
    sources = {"fashion": asked.fashion, "cifar": asked.cifar}
    measure(asked, lambda kind, count: folder_of(kind, count, sources, asked.out))
    write_page()


def measure(asked: Any, folder: Callable[[str, int], Path]) -> None:
    """Measures what is missing, until the minutes of processor time are gone."""
    end = time.process_time() + 60 * asked.minutes
    for seed in range(asked.seeds):
        for _, kind, count, network, epochs in wanted(asked.kinds.split(",")):
            table = json.loads(asked.table.read_text())
            about = KINDS[kind]
            situation = asdict(
                Situation(
                    images=count, image_size=about.size, classes=about.classes,
                    channels=about.channels,
                )
            )  # fmt: skip
            key = {"situation": situation, "model": network, "epochs": epochs}
            row = next((r for r in table["cells"] if all(r[k] == v for k, v in key.items())), None)
            if row is not None and len(row["accuracies"]) > seed:
                continue
            if time.process_time() > end:
                return
            start = time.process_time()
            found = accuracy(folder(kind, count), network, epochs, seed, asked.out / "recipe-run")
            if row is None:
                table["cells"].append(row := {**key, "accuracies": []})
            row["accuracies"].append(round(found, 4))
            _write(table, asked.table)
            print(
                f"{kind}, {count} images, {network}, {epochs} epochs, seed {seed}: "
                f"{100 * found:.1f} %, {time.process_time() - start:.0f} s of processor time",
                flush=True,
            )


def _write(table: dict[str, Any], path: Path) -> None:
    """Writes the table with a line for each cell."""
    lines = ",\n".join("  " + json.dumps(row) for row in table["cells"])
    where = {k: v for k, v in machine().items() if k in ("processor", "torch", "date")}
    text = f'{{\n "measured": {json.dumps(where)},\n "cells": [\n{lines}\n ]\n}}\n'
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text)
    unfinished.rename(path)


if __name__ == "__main__":
    main()
