#!/bin/bash
# torch 2.13.0 (oneDNN) on a processor: the weight gradient of a depthwise convolution falls off a
# cliff at filters of side 5.
#
# From 3×3 to 5×5 a depthwise convolution has 2.8 times the products, and to 7×7 5.4 times; forward
# the times follow about that. The gradient of the weights takes some 40 times as long, one thread,
# channels_last, float32 and bfloat16 alike: oneDNN has a vectorised kernel for filters of side 3
# and none for larger ones. Steps of ConvNeXt (7×7), EfficientNet and MobileNet (5×5) spend a quarter
# to a third of their time in it.
#
# Seen on an AMD EPYC (Zen 4), November 2026, 16 images of 28×28 in 96 channels, milliseconds:
#   float32   side 3: forward 1.0, weight gradient 0.5    side 5: 0.7, 21.4    side 7: 1.8, 27.4
#   bfloat16  side 3: forward 0.4, weight gradient 0.4    side 5: 0.7, 23.4    side 7: 1.1, 35.3
#
# Ends with 0 if side 5 takes more than 10 times as long as side 3, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import statistics
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
CHANNELS, SIDE = 96, 28
slow = []


def milliseconds(run):
    run()
    times = []
    for _ in range(7):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


for kind in (torch.float32, torch.bfloat16):
    taken = {}
    for side in (3, 5, 7):
        shape = (16, CHANNELS, SIDE, SIDE)
        x, dy = (torch.randn(shape).to(kind, memory_format=torch.channels_last) for _ in range(2))
        w = torch.randn(CHANNELS, 1, side, side).to(kind).requires_grad_()
        y = F.conv2d(x, w, padding=side // 2, groups=CHANNELS)
        with torch.no_grad():
            forward = milliseconds(lambda: F.conv2d(x, w, padding=side // 2, groups=CHANNELS))
        taken[side] = milliseconds(lambda: torch.autograd.grad(y, w, dy, retain_graph=True))
        print(f"{kind}, side {side}: forward {forward:.1f} ms, weight gradient {taken[side]:.1f} ms")
    slow.append(taken[5] > 10 * taken[3])
print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
sys.exit(0 if all(slow) else 1)
PYTHON
