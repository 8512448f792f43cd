"""Where the time of one step goes: torch's best eager flags, and Ravine.

    python bench/profile_step.py [wrn-16-4] [--size 28] [--channels 1] [--batch 128]

torch's loop is seen by torch.profiler, Ravine's by clocks around the calls into its C library and
into oneDNN. Forward, backward and optimizer; medians over steps, milliseconds. What no row names
is Python, the loss, and small operations.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from network import AUTOCAST, DEVICE, PRECISION
from results import keep
from torch.profiler import ProfilerActivity, profile

from ravine.core.memory import keep_freed_memory
from ravine.kernels.library import without_library
from ravine.models import build
from ravine.optim import Momentum, Transaction
from ravine.training.reference_loops import flags_loop, random_batch

STEPS = 8
# What torch calls them, by the beginning of the name.
ROWS = {
    "convolutions forward": ("aten::mkldnn_convolution", "mkldnn::_convolution"),
    "convolutions backward": ("aten::convolution_backward",),
    "norms": ("aten::native_batch_norm", "aten::_native_batch_norm", "aten::batch_norm"),
    "activations": ("aten::relu", "aten::clamp_min", "aten::threshold_backward", "aten::gelu"),
    "additions": ("aten::add",),
    "casts and copies": ("aten::copy_", "aten::to"),
    "optimizer": ("aten::_fused_sgd",),
}
# Ravine's calls: where each is looked up, and its row.
CALLS = {
    "ravine.ops.convolution_passes.convolve": "convolutions and input gradients, in tiles",
    "ravine.ops.convolution_passes.weight_gradient": "weight gradients, in tiles",
    "ravine.ops.convolution_passes.torch_convolution": "convolutions 1×1, by torch",
    "ravine.ops.norm_passes.norm_forward": "norms forward, outside convolutions",
    "ravine.ops.norm_passes.norm_backward": "norms backward, with activation and skip",
}


def torchs(step: Callable[[], None]) -> dict[str, float]:
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        whole = time.perf_counter() - start
    found: dict[str, float] = defaultdict(float)
    for event in seen.key_averages():
        row = next((r for r, names in ROWS.items() if event.key.startswith(names)), None)
        if row is not None:
            found[row] += event.self_cpu_time_total / 1e3 / STEPS
    return {**found, "all": whole / STEPS * 1e3}


@contextmanager
def clocks(found: dict[str, float]) -> Iterator[None]:
    def clocked(call: Callable[..., Any], row: str) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            result = call(*arguments, **named)
            found[row] += (time.perf_counter() - start) * 1e3
            return result

        return run

    with ExitStack() as stack:
        for name, row in CALLS.items():
            room, _, function = name.rpartition(".")
            module = __import__(room, fromlist=[function])
            call = clocked(getattr(module, function), row)
            stack.enter_context(patch.object(module, function, call))
        yield


def ravines(
    name: str, images: torch.Tensor, labels: torch.Tensor, **shape: int
) -> dict[str, float]:
    model = build(name, **shape).to(memory_format=torch.channels_last)
    optimizer = Momentum(model.parameters(), 0.01, nesterov=True)
    guarded = Transaction(optimizer, model=model)
    images = images.contiguous(memory_format=torch.channels_last)
    several: dict[str, list[float]] = defaultdict(list)
    for number in range(STEPS + 2):
        found: dict[str, float] = defaultdict(float)
        start = time.perf_counter()
        with clocks(found):
            with torch.autocast(**AUTOCAST):
                logits = model(images)
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()
        before = time.perf_counter()
        guarded.step(loss.detach(), clear=True)
        end = time.perf_counter()
        found |= {"optimizer": (end - before) * 1e3, "all": (end - start) * 1e3}
        if number >= 2:
            for row, value in found.items():
                several[row].append(value)
    return {row: statistics.median(values) for row, values in several.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?", default="wrn-16-4")
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    asked = parser.parse_args()
    keep_freed_memory()
    shape = {"classes": 10, "channels": asked.channels, "image_size": asked.size}
    images, labels = random_batch(
        asked.batch, asked.channels, asked.size, classes=10, device=DEVICE
    )
    with without_library():
        model = build(asked.name, **shape).to(memory_format=torch.channels_last)
        step = flags_loop(model, images, labels, precision=PRECISION)
        step(), step()
        before = torchs(step)
    after = ravines(asked.name, images, labels, **shape)
    figures = {
        title: {row: round(ms, 1) for row, ms in rows.items()}
        for title, rows in (("torch, ms", before), ("Ravine, ms", after))
    }
    for rows in figures.values():
        rows["the rest"] = round(2 * rows["all"] - sum(rows.values()), 1)
    for title, rows in figures.items():
        print(title, *(f"  {row:44}{ms:8.1f}" for row, ms in rows.items()), sep="\n")
    keep(f"profile-{asked.name}", f"bench/profile_step.py {asked.name}", figures)


if __name__ == "__main__":
    main()
