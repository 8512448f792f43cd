"""What the cases begin from: small images, and runs on them."""

import contextlib
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import ravine
from ravine.core.events import Event, StepDone
from ravine.training.stop import Interrupted

CLASSES = ("across", "along", "dots")
SETTINGS = {
    "model": "wrn-10-1",
    "batch": 12,
    "device": "cpu",
    "threads": 1,
    "precision": "float32",
    "convolution": "guess",
}


@dataclass(frozen=True, kw_only=True)
class Fixtures:
    """Folders that cases copy from.

    Attributes:
        tree: class folders with PNGs of 8×8 pixels.
        run: a finished run on `tree`, diagnosed, with weights along the way.
        half: a run on `tree` that was stopped.
    """

    tree: Path
    run: Path
    half: Path


def stripes(kind: int, chance: np.random.Generator) -> np.ndarray:
    """Returns pixels (8, 8, 3) of one of the classes, uint8."""
    pixels = chance.integers(0, 80, (8, 8, 3), dtype=np.uint8)
    rows = (slice(None, None, 2), slice(None))
    chosen = (rows, rows[::-1], (slice(None, None, 2), slice(None, None, 2)))[kind]
    pixels[chosen] += 150
    return pixels


def paint(folder: Path, per_class: int, seed: int = 0) -> Path:
    """Returns a folder with one folder of images for each class."""
    chance = np.random.default_rng(seed)
    for kind, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            Image.fromarray(stripes(kind, chance)).save(folder / name / f"{name}-{number}.png")
    return folder


def prepare(folder: Path) -> Fixtures:
    """Makes the fixtures; decoded images are kept in a cache of their own."""
    torch.set_num_threads(1)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["RAVINE_CACHE"] = str(folder / "cache")
    os.environ["OMP_NUM_THREADS"] = "1"
    tree = paint(folder / "tree", 14)
    steps = {"epochs": 6, "checkpoint_every": 0, "keep_weights": 3, **SETTINGS}
    ravine.train(str(tree), out=folder / "run", **steps)

    def stop(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 9:
            signal.raise_signal(signal.SIGTERM)

    with contextlib.suppress(Interrupted):
        ravine.train(str(tree), out=folder / "half", observers=[stop], **steps)
    return Fixtures(tree=tree, run=folder / "run", half=folder / "half")
