"""One network's row of bench/speed.py, in a process of its own: prints one line of JSON.

    python bench/network.py NAME SIZE CHANNELS BATCH [--seconds 6] [--compile] [--passes]

The loops are those of `ravine bench` (ravine.workflows.bench), and take turns, round by round. With
`--passes` forward and backward of Ravine only, without optimizer or data.
"""

import argparse
import json

import torch
import torch.nn.functional as F
from torch import nn

from ravine.core.device import has_fast_bfloat16, pick_device
from ravine.core.memory import keep_freed_memory
from ravine.models import build
from ravine.training.interleaved import TimedLoop, repeated, time_in_turn
from ravine.training.reference_loops import Step, random_batch
from ravine.workflows.bench import BARE, CLASSES, BenchRequest, bench

DEVICE = pick_device()
PRECISION = torch.bfloat16 if has_fast_bfloat16(DEVICE) else torch.float32
AUTOCAST = {"device_type": DEVICE.type, "dtype": PRECISION, "enabled": PRECISION.itemsize < 4}


def passes(name: str, size: int, channels: int, batch: int, seconds: float) -> dict[str, object]:
    """Forward and backward alone, in Ravine's way."""
    if DEVICE.type == "cpu":
        keep_freed_memory()
    images, labels = random_batch(batch, channels, size, classes=CLASSES, device=DEVICE)
    images = images.contiguous(memory_format=torch.channels_last)
    model = build(name, classes=CLASSES, channels=channels, image_size=size)
    step = forward_and_backward(model.to(DEVICE, memory_format=torch.channels_last), images, labels)
    times = time_in_turn({"ravine": TimedLoop(repeated(step))}, seconds=seconds, device=DEVICE)
    return {"images_per_s": times.images_per_second(batch)}


def forward_and_backward(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    def step() -> None:
        model.zero_grad()
        with torch.autocast(**AUTOCAST):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()

    return step


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
    sizes = {"size": asked.size, "channels": asked.channels, "batch": asked.batch}
    if asked.passes:
        print(json.dumps(passes(asked.name, **sizes, seconds=asked.seconds)))
        return
    request = BenchRequest.of(asked.name, **sizes, seconds=asked.seconds, compile=asked.compile)
    result = bench(request, limits=False, own_step=True)
    print(json.dumps({**result.rows()[-1], "own_step": result.times.ratio("ravine", BARE)}))


if __name__ == "__main__":
    main()
