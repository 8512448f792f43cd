"""One network's row of bench/speed.py, in a process of its own: prints one line of JSON.

    python bench/network.py NAME SIZE CHANNELS BATCH [--seconds 6] [--compile] [--passes]

The loops take turns, round by round; a round takes its share of `--seconds`, and figures are
medians over the rounds. With `--passes` forward and backward only, without optimizer or data.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ravine.core.device import has_fast_bfloat16, pick_device
from ravine.core.events import Event
from ravine.core.memory import keep_freed_memory
from ravine.data.opening import open_dataset
from ravine.models import build, summary
from ravine.runs.folder import RunFolder
from ravine.schedules import constant
from ravine.training.loop import fit
from ravine.training.plan import Plan
from ravine.training.recorder import Recorder
from ravine.training.speed import seconds_per_image, wait_for
from ravine.workflows.assemble import assemble
from ravine.workflows.observers import monitored
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session

DEVICE = pick_device()
PRECISION = torch.bfloat16 if has_fast_bfloat16(DEVICE) else torch.float32
AUTOCAST = {"device_type": DEVICE.type, "dtype": PRECISION, "enabled": PRECISION.itemsize < 4}
CLASSES, IMAGES, ROUNDS = 10, 1024, 5
Step = Callable[[], None]


@contextmanager
def torch_alone() -> Iterator[None]:
    """Without the C library, so that a loop is what torch gives."""
    with ExitStack() as patches:
        for name, module in list(sys.modules.items()):
            if name.startswith("ravine.ops.") and hasattr(module, "load_library"):
                patches.enter_context(patch.object(module, "load_library", lambda: None))
        yield


def batch_of(size: int, channels: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(batch, channels, size, size, device=DEVICE)
    return images, torch.randint(CLASSES, (batch,), device=DEVICE)


def plain_loop(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """What a tutorial writes: eager, float32, contiguous."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def flags_loop(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """What an expert writes: bfloat16, channels_last, fused SGD, one batch that lies ready."""
    images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(**AUTOCAST):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def passes(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """Forward and backward alone, in Ravine's way."""
    images = images.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        model.zero_grad()
        with torch.autocast(**AUTOCAST):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()

    return step


class RavineLoop:
    """The whole loop: order, augmentation, the step as a transaction, history, events."""

    def __init__(self, name: str, size: int, channels: int, batch: int, folder: Path) -> None:
        file = folder / "data.npz"
        rng = np.random.default_rng(0)
        np.savez(
            file,
            images=rng.integers(0, 256, (IMAGES, size, size, channels), dtype=np.uint8),
            labels=np.arange(IMAGES) % CLASSES,
        )
        recipe = Recipe(
            data=str(file), model=name, epochs=1000.0, lr=0.01, batch=batch, cache=False
        )
        dataset = open_dataset(recipe, seed=0)
        self.assembly = assemble(recipe, dataset, Session(), plan=None)
        self.recorder = Recorder(path=folder / "history.jsonl", steps_per_epoch=10**6)
        self.folder = folder
        self.watch = monitored(self.assembly, RunFolder(folder), Session())
        self.observers = [self.recorder, *self.watch.__enter__()]

    def run(self, steps: int) -> None:
        end = self.assembly.training.state.step + steps
        plan = Plan(total_steps=end, steps_per_epoch=10**6)
        training = replace(self.assembly.training, schedules={"lr": constant}, validate=None)
        fit(training, plan, emit=self.emit)

    def emit(self, event: Event) -> None:
        for observer in self.observers:
            observer(event)


def repeated(step: Step) -> Callable[[int], None]:
    def run(steps: int) -> None:
        for _ in range(steps):
            step()

    return run


def timed(run: Callable[[int], None], steps: int) -> float:
    start = time.perf_counter()
    run(steps)
    wait_for(DEVICE)
    return (time.perf_counter() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("size", type=int)
    parser.add_argument("channels", type=int)
    parser.add_argument("batch", type=int)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--passes", action="store_true")
    asked = parser.parse_args()
    if DEVICE.type == "cpu":
        keep_freed_memory()
    shape = {"classes": CLASSES, "channels": asked.channels, "image_size": asked.size}

    def network() -> nn.Module:
        return build(asked.name, **shape).to(DEVICE)

    def in_layout() -> nn.Module:
        return network().to(memory_format=torch.channels_last)

    def ravines_own() -> nn.Module:
        activation = ravine.assembly.recipe.activation
        return build(asked.name, **shape, activation=activation).to(
            DEVICE, memory_format=torch.channels_last
        )

    images, labels = batch_of(asked.size, asked.channels, asked.batch)
    multiply_adds = sum(
        row.multiply_adds
        for row in summary(network(), channels=asked.channels, image_size=asked.size)
    )
    figures: dict[str, object] = {"batch": asked.batch, "multiply_adds": multiply_adds}
    with tempfile.TemporaryDirectory() as folder:
        if asked.passes:
            loops = {"ravine": repeated(passes(in_layout(), images, labels))}
        else:
            ravine = RavineLoop(asked.name, asked.size, asked.channels, asked.batch, Path(folder))
            start = time.perf_counter()
            ravine.run(1)
            wait_for(DEVICE)
            figures["first_step_s"] = time.perf_counter() - start
            ravine.run(2)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            figures["memory_MB"] = (
                torch.cuda.max_memory_allocated() / 2**20 if DEVICE.type == "cuda" else peak
            )
            loops = {
                "plain": repeated(plain_loop(network(), images, labels)),
                "flags": repeated(flags_loop(in_layout(), images, labels)),
                "ravine": ravine.run,
                "ravine's own bare step": repeated(flags_loop(ravines_own(), images, labels)),
            }
            if asked.compile:
                loops["compiled"] = repeated(flags_loop(torch.compile(in_layout()), images, labels))
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        steps: dict[str, int] = {}
        for number in range(ROUNDS + 1):
            for name, run in loops.items():
                with torch_alone() if name in ("plain", "flags", "compiled") else patch.dict({}):
                    if number == 0:  # warm, and see how many steps fill a round
                        timed(run, 2)
                        share = asked.seconds / len(loops) / ROUNDS
                        steps[name] = max(1, round(share / timed(run, 1)))
                    else:
                        seconds[name].append(timed(run, steps[name]))
        if not asked.passes:
            few = [
                type("Images", (), {"images": images.contiguous(memory_format=torch.channels_last)})
            ] * 6
            model = ravine.assembly.state.model
            figures["evaluated_per_s"] = 1 / seconds_per_image(
                model, few, precision=PRECISION, mirrored=False
            )
    figures["images_per_s"] = {
        name: asked.batch / statistics.median(found) for name, found in seconds.items()
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
