"""timm's convolutional families through everything that Ravine does with a network, once each.

    python bench/families.py [--only resnet18,...]

Tiny images of three classes, fresh weights, a few steps: whether it works, not how well. Each
family has a process of its own, whose memory goes back with it. Prints the table of
docs/networks.md, and keeps it where every family was tried.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import keep

import ravine
from ravine.core.errors import RavineError
from ravine.workflows.check import compare_variance
from ravine.workflows.diagnose import diagnose_run
from ravine.workflows.landscape import run_surface

FAMILIES = {
    "ResNet": "resnet18",
    "ResNeXt": "resnext50_32x4d",
    "RegNet": "regnety_002",
    "DenseNet": "densenet121",
    "MobileNet": "mobilenetv3_small_100",
    "EfficientNet": "efficientnet_b0",
    "ConvNeXt": "convnext_atto",
    "NFNet": "nfnet_l0",
}
SIZE, COUNT = 32, 48
TINY: dict[str, Any] = {
    "threads": 1, "device": "cpu", "convolution": "guess", "batch": 8, "show": "none",
}  # fmt: skip
WAYS = (
    "train", "monitor", "resume", "export", "--weights", "landscape", "check", "diagnose",
)  # fmt: skip


def images(folder: Path) -> Path:
    """Writes noise of three colours as an .npz, and returns its path."""
    chance = np.random.default_rng(0)
    labels = np.arange(COUNT) % 3
    pixels = chance.integers(0, 150, (COUNT, SIZE, SIZE, 3))
    pixels[np.arange(COUNT), :, :, labels] += 100
    path = folder / "colours.npz"
    np.savez(path, images=pixels.astype(np.uint8), labels=np.array(["a", "b", "c"])[labels])
    return path


def ways(name: str, data: Path, folder: Path) -> dict[str, Callable[[], str]]:
    """Returns what is tried with a network, each ending in a few words."""
    model, run = f"timm/{name}", folder / "run"

    def train() -> str:
        done = ravine.train(data, model=model, epochs=2, out=run, monitor=0.5, **TINY)
        return f"{done.epochs[-1]['loss']:.2f}"

    def monitor() -> str:
        rows = (run / "layers.jsonl").read_text().splitlines()
        assert rows, "no snapshot"
        return f"{len(rows)} snapshots"

    def check() -> str:
        settings = {"model": model, "batch": 8}
        (row,) = compare_variance(str(data), settings, out=folder / "checked")
        return found_in(one["code"] for one in row["findings"])

    def diagnose() -> str:
        return found_in(one.code for one in diagnose_run(run))

    def landscape() -> str:
        surfaces, _ = run_surface(run, along="random", nodes=5, images=16)
        return f"{surfaces[0].loss.size} nodes"

    def resume() -> str:
        assert ravine.verify(run).same, "other weights"
        return "bitwise"

    def export() -> str:
        loaded = ravine.Run.load(run)
        proofs = [loaded.export(folder / one, format=one) for one in ("onnx", "safetensors-timm")]
        return f"{max(proof.largest_difference for proof in proofs):.0e}"

    def from_weights() -> str:
        ravine.train(
            data, weights=str(run), freeze="backbone", epochs=1, out=folder / "next", **TINY
        )
        return "frozen"

    tried = (train, monitor, resume, export, from_weights, landscape, check, diagnose)
    return dict(zip(WAYS, tried, strict=True))


def found_in(kinds: Any) -> str:
    return ", ".join(sorted(set(kinds))) or "nothing found"


def outcome(way: Callable[[], str]) -> str:
    """Returns what a way ended in; what breaks is told and not raised."""
    try:
        return way()
    except RavineError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"FAILED: {type(error).__name__}: {str(error).splitlines()[0][:200]}"


def tried(family: str, name: str, data: Path) -> dict[str, str]:
    """Returns the row of a family."""
    row = {"family": family, "network": name}
    with tempfile.TemporaryDirectory() as folder:
        for way, go in ways(name, data, Path(folder)).items():
            began = time.monotonic()
            row[way] = outcome(partial(go))
            print(f"{name} {way}: {row[way]} ({time.monotonic() - began:.0f} s)", flush=True)
    return row


def raced(data: Path) -> str:
    """Returns what becomes of a race of all the networks."""
    models = [f"timm/{name}" for name in FAMILIES.values()]
    rules = {"trials": 1, "seeds": 2, "epochs": 1}
    given = {name: value for name, value in TINY.items() if name != "show"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "race")
        race = ravine.race(data, vary={"model": models}, out=out, rules=rules, jobs=1, **given)
        broken = [row["name"] for row in race.table if not row["results"]]
    return f"broke: {', '.join(broken)}" if broken else f"{len(models)} networks raced"


def table(rows: list[dict[str, str]]) -> str:
    """Returns the rows as Markdown: a tick, or what is wrong."""
    head = ["family", "tried as", *WAYS]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        marks = [
            row[way] if row[way].startswith(("refused", "FAILED", "not run")) else "yes"
            for way in WAYS
        ]
        lines.append(f"| {row['family']} | `timm/{row['network']}` | {' | '.join(marks)} |")
    return "\n".join(lines)


def apart(name: str) -> dict[str, str]:
    """Returns the row of a network, tried in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        row = Path(folder, "row.json")
        command = [sys.executable, __file__, "--network", name, "--row", str(row)]
        subprocess.run(command, check=True)
        found: dict[str, str] = json.loads(row.read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--network", help=argparse.SUPPRESS)
    parser.add_argument("--row", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.network:
        family = next((f for f, name in FAMILIES.items() if name == asked.network), "")
        with tempfile.TemporaryDirectory() as folder:
            row = tried(family, asked.network, images(Path(folder)))
        asked.row.write_text(json.dumps(row))
        return
    names = asked.only.split(",") if asked.only else list(FAMILIES.values())
    rows = [apart(name) for name in names]
    race = "not raced"
    if not asked.only:
        with tempfile.TemporaryDirectory() as folder:
            data = images(Path(folder))
            race = outcome(lambda: raced(data))
        keep("families", "bench/families.py", {"rows": rows, "race": race})
    print(table(rows))
    print(race)


if __name__ == "__main__":
    main()
