#!/bin/bash
# torch 2.13.0 with its own libgomp: beside other busy processes a small network trains many times
# slower on all cores than on one.
#
# Between two operators the threads of OpenMP wait for each other by spinning, up to 300,000 turns.
# Where another process has a core, the thread that everyone waits for does not run, and the others
# spin a time slice away, operator after operator. The processor time grows as much as the clock's.
# GOMP_SPINCOUNT (or OMP_WAIT_POLICY=passive) takes it away, but is read once, when torch is loaded,
# and costs speed on a quiet machine. libgomp spins 1,000 turns only where a process manages more
# threads than there are cores, which can be had while it runs.
#
# Seen on an AMD EPYC, two cores, November 2026, 60 steps of three small convolutions, four endless
# loops beside: one thread 2.5 s, two threads 10.9 s, two threads with GOMP_SPINCOUNT=1000 3.6 s
# (two loops beside: 1.4, 4.3 and 1.8 s).
#
# Ends with 0 if all cores take more than twice as long as with GOMP_SPINCOUNT=1000, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"; kill $(jobs -p) 2>/dev/null || true' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0
cd "$folder"
cat > small.py <<'PYTHON'
import sys
import time

import torch
from torch import nn

torch.set_num_threads(int(sys.argv[1]))
model = nn.Sequential(
    nn.Conv2d(3, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU(),
    nn.Conv2d(12, 24, 3, 1, 1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(24, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
    nn.Flatten(), nn.Linear(32, 10),
)
optimizer = torch.optim.AdamW(model.parameters())
x, y = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))


def steps(number):
    for _ in range(number):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


steps(3)
start = time.perf_counter()
steps(60)
print(f"{time.perf_counter() - start:.2f}")
PYTHON
cores=$(nproc)
for _ in $(seq $((2 * cores))); do python3 -c 'while True: pass' & done
unset GOMP_SPINCOUNT OMP_WAIT_POLICY OMP_NUM_THREADS
run() { env ${2:-A=1} "$folder/venv/bin/python" small.py "$1"; }
for _ in 1 2 3; do
    echo "$(run 1) $(run "$cores") $(run "$cores" GOMP_SPINCOUNT=1000)" | tee -a times
done
python3 - <<'PYTHON'
import statistics
import sys

rows = [[float(word) for word in line.split()] for line in open("times")]
one, spinning, sleeping = (statistics.median(column) for column in zip(*rows))
print(f"one thread {one:.2f} s, all cores {spinning:.2f} s, with GOMP_SPINCOUNT=1000 {sleeping:.2f} s")
sys.exit(0 if spinning > 2 * sleeping else 1)
PYTHON
