"""What a contestant of the leaderboard gets, and what it gives back.

`python PEER.py TASK.json` trains on `train` for `seconds`, from the moment its data is ready, with
one of the settings of contestants.py, and writes the predictions of the images of `test`. What
comes before the first batch (imports, listing and caching files) and the predictions are not
counted.
"""

import csv
import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run of a contestant.

    Attributes:
        train: folder of class folders.
        test: folder of images.
        seconds: of training.
        seed: of initial weights, order and augmentation.
        setting: the contestant's own.
        out: an empty folder: predictions.csv (name, class) and report.json go there.
    """

    train: Path
    test: Path
    seconds: float
    seed: int
    setting: dict[str, Any]
    out: Path

    def images(self) -> list[Path]:
        """Returns the test images."""
        return sorted(self.test.iterdir())

    def finish(self, classes: list[str], *, network: str, seconds: float, epochs: float) -> None:
        """Writes the class of each test image, and what the training was."""
        with (self.out / "predictions.csv").open("w", newline="") as file:
            rows = zip(self.images(), classes, strict=True)
            csv.writer(file).writerows((path.name, name) for path, name in rows)
        report = {"network": network, "seconds": seconds, "epochs": epochs}
        (self.out / "report.json").write_text(json.dumps(report))


def task() -> Task:
    """Returns the task that the command line names, after everything random is seeded."""
    given = json.loads(Path(sys.argv[1]).read_text())
    paths = {name: Path(given.pop(name)) for name in ("train", "test", "out")}
    found = Task(**paths, **given)
    random.seed(found.seed)
    np.random.seed(found.seed)
    torch.manual_seed(found.seed)
    return found


class Clock:
    """The seconds of a training, from the first question on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.start: float | None = None

    def elapsed(self) -> float:
        """Returns seconds since the first call."""
        if self.start is None:
            self.start = time.monotonic()
        return time.monotonic() - self.start

    def share(self) -> float:
        """Returns the share of the seconds that is gone, at most 1."""
        return min(1.0, self.elapsed() / self.seconds)
