"""What a loss surface costs and what a refined one loses, in parts that start on their own.

    python bench/landscape.py train FOLDER        # four networks on Fashion-MNIST, 3 epochs each
    python bench/landscape.py refined FOLDER/*    # an eighth of the nodes against all 51 × 51
    python bench/landscape.py node FOLDER/*       # a node against a bare evaluation pass
    python bench/landscape.py budget FOLDER/wrn-16-4
    python bench/landscape.py memory FOLDER/wrn-16-4

Any run folders will do. The figures of each run are added to results/landscape.json at once; a
full grid is saved in the run's folder on the way and continued after a stop. `--small` runs a part
in a minute and keeps nothing.

1. refined: relative RMSE of log loss of a surface refined with an eighth of the nodes: RMSE over
   the standard deviation of the full grid's log loss (under 2 %).
2. node: median over pairs of a node's time over that of a bare pass over the same batches in the
   same precision (at most 1.1).
3. budget: `--budget 60s` with trajectory: wall time, nodes, points.
4. memory: copies of the weights besides the model's own, all tensors counted (at most 3).
"""

import argparse
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from results import RESULTS, keep
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import ravine
from ravine.data.batches import evaluation_batches
from ravine.data.network_images import open_labelled
from ravine.landscapes.loss_surface import landscape
from ravine.landscapes.refine import coarse_nodes, interpolate, next_nodes
from ravine.runs.recipe_file import read_recipe
from ravine.workflows.landscape import run_surface

# With and without skip connections, wide and narrow.
NETWORKS: dict[str, dict[str, Any]] = {
    "wrn-16-4": {"model": "wrn-16-4"},
    "resnet-cifar-20": {"model": "resnet-cifar-20"},
    "plain-20": {"model": "resnet-cifar-20", "skip": False},
    "wrn-10-1": {"model": "wrn-10-1"},
}
Batches = list[tuple[torch.Tensor, torch.Tensor]]


def each_image(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


def batches_of(run: ravine.Run, images: int) -> Batches:
    settings, _ = read_recipe(run.path / "recipe.toml")
    trained = run.trained
    data = open_labelled(
        str(settings["data"]),
        labels=settings.get("labels") or None,
        preprocessing=trained.preprocessing,
        classes=trained.classes,
    )
    chosen = np.random.default_rng(0).permutation(len(data.labels))[:images]
    found = evaluation_batches(
        data.images,
        chosen,
        preprocessing=trained.preprocessing,
        batch=100,
        device=torch.device("cpu"),
        labels=np.asarray(data.labels),
    )
    return [(batch.images, batch.labels) for batch in found]


def node(path: Path, small: bool) -> dict[str, Any]:
    run = ravine.Run.load(path)
    batches, model = batches_of(run, 100 if small else 500), run.model.eval()
    found = {}
    for precision in ("float32", "bfloat16"):
        kind = getattr(torch, precision)

        @torch.no_grad()
        def bare(kind: torch.dtype = kind) -> float:
            began = time.perf_counter()
            for inputs, labels in batches:
                with torch.autocast("cpu", kind, enabled=kind != torch.float32):
                    said = model(inputs)
                each_image(said.float(), labels).mean().item()
            return time.perf_counter() - began

        def nodes(count: int, precision: str = precision) -> float:
            began = time.perf_counter()
            landscape(
                model, each_image, batches, along="line", x=(-1.0, 1.0, count), precision=precision
            )
            return time.perf_counter() - began

        bare()
        ratios, passes = [], []
        for _ in range(3 if small else 7):
            # The difference of two lengths is free of what a call costs once.
            passes.append(statistics.mean(bare() for _ in range(8)))
            ratios.append((nodes(10) - nodes(2)) / 8 / passes[-1])
        found[precision] = {
            "ratio": statistics.median(ratios),
            "ratios": [round(v, 3) for v in ratios],
            "bare_seconds": statistics.median(passes),
            "images": len(batches) * 100,
        }
    return found


def refined(path: Path, small: bool) -> dict[str, Any]:
    run, side = ravine.Run.load(path), 21 if small else 51
    out = None if small else path / "bench-surface.npz"
    began = time.perf_counter()
    full = landscape(
        run.model,
        each_image,
        batches_of(run, 50 if small else 100),
        nodes=side,
        out=out,
    )
    known = np.zeros((side, side), bool)
    loss = np.full((side, side), np.nan)
    most = side * side // 8
    chosen = coarse_nodes(side, side, 9 if most > 100 else 5)
    while chosen:
        for index in chosen:
            loss[index], known[index] = full.loss[index], True
        left = most - int(known.sum())
        chosen = next_nodes(loss, known, min(12, left)) if left else []
    logs = np.log(full.loss)
    error = np.log(interpolate(loss, known)) - logs
    return {
        "rmse": float(np.sqrt(np.nanmean(error**2)) / np.nanstd(logs)),
        "rmse_of_log_loss": float(np.sqrt(np.nanmean(error**2))),
        "nodes": int(known.sum()),
        "of": side * side,
        "seconds": round(time.perf_counter() - began, 1),
        **full.roughness,
    }


def budget(path: Path, small: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        (surface,), files = run_surface(path, budget=10.0 if small else 60.0, out=folder)
        seconds = time.perf_counter() - began
    return {
        "seconds": round(seconds, 1),
        "of_surface": surface.about["seconds"],
        "nodes": int(surface.evaluated.sum()),
        "points": int(np.isfinite(surface.trajectory["loss"]).sum()),
        "of_points": len(surface.trajectory["loss"]),
        "images": surface.about["count"],
        "precision": surface.about["precision"],
        "files": len(files),
    }


class Counted(TorchDispatchMode):
    """Sums the bytes of all storages that live after each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._seen: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self._seen[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._seen = {k: v for k, v in self._seen.items() if not v[0].expired()}
        self.most = max(self.most, sum(size for _, size in self._seen.values()))
        return result


def most_bytes(work: Callable[[], Any], weights: Iterable[torch.Tensor]) -> int:
    gc.collect()
    with Counted() as counted:
        for p in weights:
            p.detach()
        work()
    return counted.most


def memory(path: Path, small: bool) -> dict[str, Any]:
    """Counts with one image; the activations of a bare pass are no copy of weights."""
    run = ravine.Run.load(path)
    points = sorted((path / "weights").glob("*.safetensors"))
    side = 5 if small else 9
    ((inputs, targets),) = batches_of(run, 1)
    model, weights = run.model.eval(), list(run.model.parameters())
    own = sum(p.numel() * p.element_size() for p in weights)
    with torch.no_grad():
        bare = most_bytes(lambda: each_image(model(inputs), targets), weights)
    found: dict[str, Any] = {"weights": own, "checkpoints": len(points), "nodes": side * side}
    found["activations"] = round(bare / own - 1, 3)
    for along in ("random", "trajectory"):
        work = partial(landscape, model, each_image, [(inputs, targets)], along=along, nodes=side)
        if along == "trajectory":
            work = partial(work, trajectory=points)
        found[f"copies, {along}"] = round((most_bytes(work, weights) - bare) / own, 3)
    return found


def train(folder: Path, small: bool) -> None:
    for name, settings in NETWORKS.items():
        if not (folder / name / "evaluation.json").exists():
            epochs = 0.2 if small else 3
            ravine.train(
                "@fashion", **settings, epochs=epochs, out=folder / name, keep_weights=20, seed=1
            )


def add(part: str, name: str, figures: dict[str, Any]) -> None:
    """Adds figures to the kept ones; those of an earlier format are dropped."""
    file = RESULTS / "landscape.json"
    before = json.loads(file.read_text())["figures"] if file.exists() else {}
    whole = {key: value for key, value in before.items() if key in PARTS}
    whole.setdefault(part, {})[name] = {**figures, "threads": torch.get_num_threads()}
    keep("landscape", "python bench/landscape.py PART RUN…", whole)


PARTS = {"refined": refined, "node": node, "budget": budget, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["train", *PARTS])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    for path in asked.paths:
        if asked.part == "train":
            train(path, asked.small)
            continue
        figures = PARTS[asked.part](path, asked.small)
        print(path.name, asked.part, figures, flush=True)
        if not asked.small:
            add(asked.part, path.name, figures)


if __name__ == "__main__":
    main()
