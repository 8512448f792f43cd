"""Training speed: Ravine against the plain eager float32 loop, and against its own bare step.

    python bench/speed.py [--model wrn-16-4] [--rounds 5]

Three loops on the shipped sample (28×28×1, batch 128), interleaved round by round in one
process; medians over the rounds. The bare step is what the fastest loop could be: forward,
backward and torch's SGD in bfloat16 and channels_last on one batch that lies ready. Ravine is
the whole loop: order, augmentation, the step as a transaction, history, events.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from results import keep
from torch import nn

from ravine.data.opening import open_dataset
from ravine.models import build
from ravine.recipe import Recipe
from ravine.schedules import constant
from ravine.setup import set_up
from ravine.training.clock import Clock
from ravine.training.loop import Hooks, fit
from ravine.training.plan import Plan
from ravine.training.recorder import Recorder
from ravine.training.stop import StopRequest

STEPS = 12


def plain_loop(model: nn.Module) -> Callable[[], float]:
    """Returns a round of what a tutorial writes: eager, float32, contiguous."""
    images, labels = torch.randn(128, 1, 28, 28), torch.randint(10, (128,))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True)

    def run() -> float:
        start = time.perf_counter()
        for _ in range(STEPS // 3):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        return 128 * (STEPS // 3) / (time.perf_counter() - start)

    return run


def bare_step(model: nn.Module) -> Callable[[], float]:
    """Returns a round of the step alone: bfloat16, channels_last, one batch that lies ready."""
    model = model.to(memory_format=torch.channels_last)
    images = torch.randn(128, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (128,))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True)

    def run() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(images)
            F.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
        return 128 * STEPS / (time.perf_counter() - start)

    return run


def ravine_loop(name: str, folder: Path) -> Callable[[], float]:
    """Returns a round of Ravine's own loop, which goes on where it stopped."""
    recipe = Recipe(data="@fashion", model=name, epochs=1000.0, lr=0.1)
    dataset = open_dataset(recipe, seed=0)

    setup = set_up(recipe, dataset, plan=None, tell=print, clock=Clock())
    recorder = Recorder(path=folder / "history.jsonl", steps_per_epoch=70)

    def run() -> float:
        end = setup.state.step + STEPS
        plan = Plan(total_steps=end, steps_per_epoch=10**6)
        start = time.perf_counter()
        fit(
            setup.state,
            setup.batches,
            forward=setup.forward,
            rules=setup.rules,
            plan=plan,
            schedules={"lr": constant},
            hooks=Hooks(validate=None, save=lambda _: folder, correct=lambda plan, _: plan),
            observers=[recorder],
            stop=StopRequest(),
            clock=Clock(),
            checkpoint_every=60.0,
        )
        return 128 * STEPS / (time.perf_counter() - start)

    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="wrn-16-4")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    shape = {"classes": 10, "channels": 1, "image_size": 28}
    with tempfile.TemporaryDirectory() as folder:
        loops = {
            "plain eager float32": plain_loop(build(chosen.model, **shape)),
            "bare step": bare_step(build(chosen.model, **shape)),
            "ravine": ravine_loop(chosen.model, Path(folder)),
        }
        rounds: dict[str, list[float]] = {name: [] for name in loops}
        for number in range(chosen.rounds + 1):
            for name, run in loops.items():
                speed = run()
                if number:
                    rounds[name].append(speed)
    medians = {name: statistics.median(found) for name, found in rounds.items()}
    figures: dict[str, object] = {f"{n}, images/s": round(v, 1) for n, v in medians.items()}
    figures["ravine / plain"] = round(medians["ravine"] / medians["plain eager float32"], 3)
    figures["ravine / bare step"] = round(medians["ravine"] / medians["bare step"], 3)
    figures["rounds"] = chosen.rounds
    keep(f"speed-{chosen.model}", f"python bench/speed.py --model {chosen.model}", figures)


if __name__ == "__main__":
    main()
