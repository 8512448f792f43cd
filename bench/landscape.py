"""What a loss surface costs and what a refined one loses.

    .venv/bin/python bench/landscape.py            # everything, about half an hour on two cores
    .venv/bin/python bench/landscape.py --small    # a trial of a minute

1. A node against a bare evaluation pass over the same batches, median of pairs (at most 1.1).
2. Of four networks: the relative RMSE of log loss of a surface refined with an eighth of the nodes,
   against the full grid: RMSE over the standard deviation of the full grid's log loss (under 2 %).
3. WRN-16-4 with a budget of 60 s: nodes, trajectory points, wall time.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from results import keep

import ravine
from ravine.data.batches import evaluation_batches
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.landscapes.landscape import landscape
from ravine.landscapes.refine import coarse_nodes, interpolate, next_nodes
from ravine.run_surface import run_surface

# With and without skip connections, wide and narrow.
NETWORKS = {
    "wrn-16-4": {"model": "wrn-16-4"},
    "resnet-cifar-20": {"model": "resnet-cifar-20"},
    "resnet-cifar-20 without skip": {"model": "resnet-cifar-20", "skip": False},
    "wrn-10-1": {"model": "wrn-10-1"},
}


def each_image(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


def batches_of(run: ravine.Run, images: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    data = open_dataset(DataSettings(data="@fashion", validation=0.0), seed=0)
    found = evaluation_batches(
        data.images,
        data.splits["train"][:images],
        preprocessing=run.trained.preprocessing,
        batch=100,
        device=torch.device("cpu"),
        labels=data.labels,
    )
    return [(batch.images, batch.labels) for batch in found]


def node_cost(run: ravine.Run, images: int, pairs: int) -> dict[str, float]:
    batches, model = batches_of(run, images), run.model.eval()

    @torch.no_grad()
    def bare() -> float:
        began = time.perf_counter()
        for inputs, labels in batches:
            each_image(model(inputs), labels)
        return time.perf_counter() - began

    def nodes(count: int) -> float:
        began = time.perf_counter()
        landscape(
            model, each_image, batches, along="line", x=(-1.0, 1.0, count), precision="float32"
        )
        return time.perf_counter() - began

    bare()
    ratios = []
    for _ in range(pairs):
        # The difference of two lengths is free of what a call costs once.
        passes = statistics.mean(bare() for _ in range(8))
        ratios.append((nodes(10) - nodes(2)) / 8 / passes)
    return {"ratio": statistics.median(ratios), "seconds": passes, "pairs": pairs}


def refined(run: ravine.Run, images: int, nodes: int) -> dict[str, float]:
    full = landscape(run.model, each_image, batches_of(run, images), nodes=nodes)
    known = np.zeros((nodes, nodes), bool)
    loss = np.full((nodes, nodes), np.nan)
    most = nodes * nodes // 8
    chosen = coarse_nodes(nodes, nodes, 9 if most > 100 else 5)
    while chosen:
        for node in chosen:
            loss[node], known[node] = full.loss[node], True
        chosen = (
            next_nodes(loss, known, min(12, most - int(known.sum()))) if known.sum() < most else []
        )
    logs = np.log(full.loss)
    error = np.log(interpolate(loss, known)) - logs
    rmse = float(np.sqrt(np.nanmean(error**2)) / np.nanstd(logs))
    return {"rmse": rmse, "nodes": int(known.sum()), "of": nodes * nodes, **full.roughness}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    small = parser.parse_args().small
    nodes, images, names = (21, 100, list(NETWORKS)[3:]) if small else (51, 200, list(NETWORKS))
    found: dict[str, object] = {"threads": torch.get_num_threads(), "small": small}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / name.replace(" ", "-")
            run = ravine.train(
                "@fashion", **NETWORKS[name], epochs=1 if small else 3, out=path, keep_weights=20
            )
            found[name] = {
                "node": node_cost(run, images, 3 if small else 7),
                "refined": refined(run, images, nodes),
            }
            print(name, found[name], flush=True)
        began = time.perf_counter()
        (surface,), _ = run_surface(Path(folder) / names[0], budget=10.0 if small else 60.0)
        found["budget"] = {
            "network": names[0],
            "seconds": time.perf_counter() - began,
            "nodes": int(surface.evaluated.sum()),
            "points": int(np.isfinite(surface.trajectory["loss"]).sum()),
            "of_points": len(surface.trajectory["loss"]),
            "batches": surface.about["batches"],
        }
    if small:
        print(found)
    else:
        keep("landscape", "python bench/landscape.py", found)


if __name__ == "__main__":
    main()
