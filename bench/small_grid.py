"""Small data by the defaults, in 60 cells: does any end below what the pixels alone give?

    python bench/small_grid.py FOLDER_OF_FASHION_MNIST FOLDER_OF_JPEG [--most 60] [--cells 60]
        [--processor-time] [--again WORD] [--only WORD]

12, 50, 180, 500 and 2,000 images of 2, 3, 10 and 100 classes, at least 5 of each: fifteen pairs,
four cells of each, whose pictures (28 to 224 pixels), network (every family, or Ravine's choice)
and length (1 to 30 epochs, 20 s to 2 minutes) are drawn from a fixed seed, but for those that would
take longer than ten minutes on one core. Fashion-MNIST in grey, CIFAR-10 in colour; 100 classes are
two garments side by side. A cell is one run of `ravine train` with no other setting, one thread,
evaluated on up to 1,000 test images; its baselines are those of the same images (docs/report.md).

The cells are done from the cheapest on, until `--most` minutes are over; those that are kept
already are not done again, but for those whose name holds WORD. `--only` does those alone whose
name holds WORD. `--processor-time` counts the seconds of budgets in processor time, for a machine
that does other things as well.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

SIZES, CLASSES, LEAST = (12, 50, 180, 500, 2000), (2, 3, 10, 100), 5
SIDES = {"fashion": (28, 64, 224), "cifar": (32, 96, 224), "pairs": (28, 56)}
# Seconds for an image of 32×32 forward and backward on one core, about.
NETWORKS = {
    "auto": 0.008, "swift-1": 0.002, "wrn-10-1": 0.002, "wrn-16-4": 0.015, "resnet-cifar-20": 0.003,
    "preact-164": 0.03, "resnet-18": 0.02, "alexnet": 0.02, "alexnet-2014": 0.02,
}  # fmt: skip
LENGTHS = ("1 epoch", "3 epochs", "10 epochs", "30 epochs", "20 s", "60 s", "120 s")
VARIANTS, LONGEST, TESTED, SEED = 4, 600.0, 1000, 25


class Cell(NamedTuple):
    """One run."""

    images: int
    classes: int
    source: str
    side: int
    network: str
    length: str

    @property
    def name(self) -> str:
        return ", ".join(
            (f"{self.images} images", f"{self.classes} classes", f"{self.source} {self.side} px",
             self.network, self.length)
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """What the run takes on one core, about."""
        amount, unit = self.length.split()
        if unit == "s":
            return float(amount)
        # Stems of large images take a sixteenth of their pixels.
        pixels = self.side**2 / (1 if self.side <= 64 else 16)
        return self.images * float(amount) * NETWORKS[self.network] * pixels / 32**2


def cells() -> list[Cell]:
    """Returns the cells, the cheapest first."""
    chance = np.random.default_rng(SEED)
    found: list[Cell] = []
    for images in SIZES:
        for classes in (k for k in CLASSES if images >= LEAST * k):
            drawn: set[Cell] = set()
            while len(drawn) < VARIANTS:
                source = "pairs" if classes == 100 else str(chance.choice(["fashion", "cifar"]))
                side = int(chance.choice(SIDES[source]))
                network, length = str(chance.choice([*NETWORKS])), str(chance.choice(LENGTHS))
                cell = Cell(images, classes, source, side, network, length)
                if cell.seconds <= LONGEST:
                    drawn.add(cell)
            found += sorted(drawn)
    return sorted(found, key=lambda cell: cell.seconds)


Pool = tuple[np.ndarray, np.ndarray]


def fashion(folder: Path, part: str) -> Pool:
    """Returns images (N, 28, 28) and labels (N,)."""
    from ravine.data.sources.idx import read_idx

    images, labels = (
        read_idx(folder / f"{part}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")
    )
    return images, labels


def cifar(folder: Path, part: str, most: int, chance: np.random.Generator) -> Pool:
    """Returns images (N, 32, 32, 3) and labels (N,), at most so many of a class."""
    images, labels = [], []
    for label, place in enumerate(sorted((folder / part).iterdir())):
        files = sorted(place.iterdir())
        for number in chance.permutation(len(files))[:most]:
            with Image.open(files[number]) as picture:
                images.append(np.asarray(picture.convert("RGB")))
            labels.append(label)
    return np.stack(images), np.array(labels)


def pairs(pool: Pool, count: int, chance: np.random.Generator) -> Pool:
    """Returns images (N, 28, 56) of two garments side by side, and labels of 100 classes."""
    images, labels = pool
    by_class = [np.flatnonzero(labels == k) for k in range(10)]
    wanted = np.arange(count) % 100
    left, right = ([int(chance.choice(by_class[k])) for k in digit] for digit in divmod(wanted, 10))
    return np.concatenate([images[left], images[right]], axis=2), wanted


def write(pool: Pool, cell: Cell, out: Path, count: int, chance: np.random.Generator) -> None:
    """Writes so many images of the first classes of a pool as PNG files, a folder for each."""
    images, labels = pool
    for k in range(cell.classes):
        mine = chance.permutation(np.flatnonzero(labels == k))
        (out / f"{k:02d}").mkdir(parents=True)
        for number in mine[: count // cell.classes + (k < count % cell.classes)]:
            picture = Image.fromarray(images[number])
            if picture.size != (cell.side, cell.side):
                picture = picture.resize((cell.side, cell.side), Image.Resampling.BICUBIC)
            picture.save(out / f"{k:02d}" / f"{number:05d}.png")


def written(cell: Cell, sources: dict[str, Path], out: Path) -> Path:
    """Writes the images of a cell, and returns their folder."""
    tested = TESTED if cell.side < 224 else TESTED // 2
    for part, count in (("train", cell.images), ("test", tested)):
        chance = np.random.default_rng([SEED, cell.images, cell.classes, part == "test"])
        if cell.source == "cifar":
            pool = cifar(sources["cifar"], part, -(-count // cell.classes), chance)
        else:
            pool = fashion(sources["fashion"], "train" if part == "train" else "t10k")
        if cell.source == "pairs":
            pool = pairs(pool, count, chance)
        write(pool, cell, out / part, count, chance)
    return out


def one_run(cell: Cell, data: Path, out: Path) -> dict[str, Any]:
    """Trains a cell, and returns its accuracy beside the baselines, and what was said of it."""
    import ravine
    from ravine.core.errors import TrainingDiverged
    from ravine.core.events import Event, Notice

    said: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Notice) and event.warning:
            said.append(event.text)

    amount, unit = cell.length.split()
    settings: dict[str, Any] = {"budget" if unit == "s" else "epochs": float(amount)}
    if cell.network != "auto":
        settings["model"] = cell.network
    began = time.process_time()
    try:
        run = ravine.train(data, out=out, show="none", threads=1, observers=[hear], **settings)
    except TrainingDiverged as lost:
        return {"verdict": "diverged", "said": str(lost)}
    best = max(run.result["baselines"], key=lambda row: row["accuracy"])
    below = best["only_baseline"] > best["only_network"] and best["p"] < 0.05
    findings = run_findings(run.path)
    said += [str(row.get("cause")) for row in findings]
    few = any("too few" in text or "leave time for" in text for text in said)
    recipe = (run.path / "recipe.toml").read_text()
    kept = dict(line.split(" = ", 1) for line in recipe.splitlines() if " = " in line)
    return {
        "verdict": ("short, and said so" if few else "below") if below else "not below",
        "accuracy, %": round(100 * run.result["accuracy"], 1),
        f"{best['name']}, %": round(100 * best["accuracy"], 1),
        "p": round(best["p"], 4),
        "steps": json.loads(kept["total_steps"]),
        "batch": json.loads(kept["batch"]),
        "lr": json.loads(kept["lr"]),
        "model": json.loads(kept["model"]),
        "findings": sorted({row["code"] for row in findings}),
        "processor seconds": round(time.process_time() - began, 1),
    }


def run_findings(path: Path) -> list[dict[str, Any]]:
    """Returns the findings of a run that are more than notes."""
    file = path / "findings.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    return [row for row in map(json.loads, lines) if row["severity"] != "note"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("fashion", type=Path)
    parser.add_argument("cifar", type=Path)
    parser.add_argument("--most", type=float, default=60.0, help="minutes")
    parser.add_argument("--cells", type=int, default=60)
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--again", default="", help="cells to do again: part of their name")
    parser.add_argument("--only", default="", help="cells to do at all: part of their name")
    chosen = parser.parse_args()
    end = time.time() + 60 * chosen.most
    if chosen.processor_time:  # before ravine is loaded, whose clocks these are
        time.monotonic = time.perf_counter = time.process_time
    from results import keep, kept

    figures = kept("small-grid")
    figures.pop("verdicts", None)
    sources = {"fashion": chosen.fashion, "cifar": chosen.cifar}
    how = " --processor-time" if chosen.processor_time else ""
    for cell in cells()[: chosen.cells]:
        again = chosen.again and chosen.again in cell.name
        done = cell.name in figures and not again
        if done or chosen.only not in cell.name or time.time() > end:
            continue
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            row = one_run(cell, written(cell, sources, place / "data"), place / "run")
        figures[cell.name] = row
        print(cell.name, row, flush=True)
        verdicts = Counter(one["verdict"] for one in figures.values())
        command = f"python bench/small_grid.py fashion-mnist FOLDER_OF_JPEG{how}"
        keep("small-grid", command, {"verdicts": dict(verdicts), **figures})


if __name__ == "__main__":
    main()
