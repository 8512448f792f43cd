"""The best flags of torch alone, in a process of its own: prints images/s as one line of JSON.

    python bench/flags.py NAME SIZE CHANNELS BATCH [--seconds 6] [--compile]

For environment variables that torch reads once (THP_MEM_ALLOC_ENABLE=1), and for another version of
torch: any Python that has Ravine's requirements runs it, with PYTHONPATH=src.
"""

import argparse
import json

import torch

from ravine.core.device import has_fast_bfloat16, pick_device
from ravine.core.memory import keep_freed_memory
from ravine.models import build
from ravine.training.interleaved import TimedLoop, repeated, time_in_turn
from ravine.training.reference_loops import flags_loop, random_batch

CLASSES = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("size", type=int)
    parser.add_argument("channels", type=int)
    parser.add_argument("batch", type=int)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    device = pick_device()
    precision = torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    if device.type == "cpu":
        keep_freed_memory()
    images, labels = random_batch(
        asked.batch, asked.channels, asked.size, classes=CLASSES, device=device
    )

    def loop(*, compiled: bool) -> TimedLoop:
        model = build(
            asked.name, classes=CLASSES, channels=asked.channels, image_size=asked.size
        ).to(device, memory_format=torch.channels_last)
        network = torch.compile(model) if compiled else model
        step = flags_loop(network, images, labels, precision=precision)
        return TimedLoop(repeated(step), alone=True)

    loops = {"flags": loop(compiled=False)}
    if asked.compile:
        loops["compiled"] = loop(compiled=True)
    times = time_in_turn(loops, seconds=asked.seconds, device=device)
    print(json.dumps({"torch": torch.__version__, **times.images_per_second(asked.batch)}))


if __name__ == "__main__":
    main()
