"""timm's networks with Ravine's kernels in a loop of one's own, against the best flags of torch.

    python bench/strangers.py [--only resnet18:64:64,resnet18:224:16] [--no-compile] [--rounds 7]

NETWORK:SIZE:BATCH. Loops take turns in one process, with huge pages: the best flags of torch
(bfloat16, channels_last, fused SGD), eager and compiled, and the same eager loop after
`ravine.nn.use_kernels_`. It needs a Python with timm, and a torchvision that fits its torch; an
installed Ravine, or PYTHONPATH with a built one.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import timm
import torch
from results import keep
from torch import nn

from ravine.core.device import pick_precision
from ravine.core.memory import keep_freed_memory
from ravine.nn import use_kernels_
from ravine.training.reference_loops import flags_loop, random_batch

CPU = torch.device("cpu")
NETWORKS = "resnet18:64:64,resnet18:224:16,efficientnet_b0:128:16,regnety_008:128:16"


def loops(name: str, size: int, batch: int, *, compiled: bool) -> dict[str, Callable[[], None]]:
    """Returns a step of each loop."""
    images, labels = random_batch(batch, 3, size, classes=10, device=CPU)

    def network() -> nn.Module:
        torch.manual_seed(0)
        return timm.create_model(name, num_classes=10).to(memory_format=torch.channels_last)

    def step(model: nn.Module) -> Callable[[], None]:
        return flags_loop(model, images, labels, precision=pick_precision("auto", CPU))

    found = {"best flags, eager": step(network()), "ravine": step(use_kernels_(network()))}
    if compiled:
        found["best flags, compiled"] = step(torch.compile(network()))
    return found


def seconds_in_turn(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Returns the seconds of a step of each loop, round by round."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(-2, rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if number >= 0:
                found[name].append(time.perf_counter() - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=NETWORKS)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    keep_freed_memory()
    rows = []
    for network in asked.only.split(","):
        name, size, batch = network.split(":")
        steps = loops(name, int(size), int(batch), compiled=not asked.no_compile)
        found = seconds_in_turn(steps, asked.rounds)
        speed = {n: round(int(batch) / statistics.median(s), 1) for n, s in found.items()}
        ours = found["ravine"]
        ratios = {
            f"ravine / {n}": round(
                statistics.median(a / b for a, b in zip(s, ours, strict=True)), 2
            )
            for n, s in found.items()
            if n != "ravine"
        }
        rows.append({"network": network, **speed, **ratios})
        print(json.dumps(rows[-1]))
    keep("strangers", "bench/strangers.py", {"timm": timm.__version__, "rows": rows})


if __name__ == "__main__":
    main()
