"""Fine-tuning through Ravine against timm's network in a plain loop with the best flags of torch.

    python bench/fine_tuning.py [--only resnet18:128:32,convnext_atto:128:32] [--rounds 7]

NETWORK:SIZE:BATCH. Ravine's side is the whole loop of `ravine train --weights FOLDER`: batches
with their augmentation, layer-wise learning rates, the step as a transaction, history, monitor. The
other side is a batch that lies ready, bfloat16 where it is fast, channels_last, fused SGD,
torch.compile. Both take turns on one thread; a step's time is that of the processor. It needs a
Python with timm, and a torchvision that fits its torch; an installed Ravine, or PYTHONPATH with a
built one.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import timm
import torch
from results import keep
from safetensors.torch import save_file

from ravine.core.device import pick_precision
from ravine.core.memory import keep_freed_memory
from ravine.training.reference_loops import flags_loop, random_batch
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import open_session
from ravine.workflows.whole_loop import whole_loop

CPU = torch.device("cpu")
NETWORKS = "resnet18:128:32,convnext_atto:128:32"
CLASSES = 10


def released(name: str, folder: Path) -> Path:
    """Returns a folder as on the hub, with weights of a network of another number of classes."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5)
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": name, "num_classes": 5}))
    return folder


def compiled_loop(name: str, size: int, batch: int) -> Callable[[], None]:
    """Returns a step of timm's network, compiled."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES).to(memory_format=torch.channels_last)
    images, labels = random_batch(batch, 3, size, classes=CLASSES, device=CPU)
    network = torch.compile(model)
    return flags_loop(network, images, labels, precision=pick_precision("auto", CPU))


def seconds_in_turn(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Returns the processor seconds of a step of each loop, round by round."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(-2, rounds):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if number >= 0:
                found[name].append(time.process_time() - start)
    return found


def row_of(name: str, size: int, batch: int, rounds: int) -> dict[str, Any]:
    """Returns the figures of one network."""
    with tempfile.TemporaryDirectory() as folder, open_session() as session:
        weights = str(released(name, Path(folder)))
        recipe = Recipe(
            weights=weights, model=f"timm/{name}", batch=batch, threads=1, freeze="none"
        )
        session.use_threads(1)
        with whole_loop(recipe, session, size=size, channels=3, classes=CLASSES) as loop:
            steps = {
                "ravine": lambda: loop.run(1),
                "timm, compiled": compiled_loop(name, size, batch),
            }
            found = seconds_in_turn(steps, rounds)
    ratios = [b / a for a, b in zip(found["ravine"], found["timm, compiled"], strict=True)]
    return {
        "network": f"{name}:{size}:{batch}",
        **{f"{n}: processor ms": round(1e3 * statistics.median(s), 1) for n, s in found.items()},
        "times as fast": round(statistics.median(ratios), 2),
        "least and most": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-keep", action="store_true")
    asked = parser.parse_args()
    keep_freed_memory()
    rows = []
    for network in asked.only.split(","):
        name, size, batch = network.split(":")
        rows.append(row_of(name, int(size), int(batch), asked.rounds))
        print(json.dumps(rows[-1]), flush=True)
    if not asked.no_keep:
        keep("fine-tuning", "bench/fine_tuning.py", {"timm": timm.__version__, "rows": rows})


if __name__ == "__main__":
    main()
