#!/bin/bash
# torchmetrics 1.9.0: whether logits are logits is decided batch by batch.
#
# The binary and several-label metrics take probabilities or logits, and apply the sigmoid where any
# value of the *batch* lies outside 0 to 1. Logits that happen to lie inside are thresholded at 0.5
# as they are. The same 1,000 logits and labels give another accuracy in batches of 1 than in
# batches of 100, and the short last batch of an epoch is counted differently from the others.
# Nothing is said; a sigmoid before the call avoids it.
#
# Seen on an AMD EPYC, November 2026, all labels 1, logits uniform in -0.5 to 1.5 (74.9 % above 0):
#   above 0: 0.749; batches of 100: 0.749; batches of 1: 0.508
#
# Ends with 0 if that is seen again, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.14.1 torchmetrics==1.9.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torchmetrics.classification import BinaryAccuracy

logits = torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 2 - 0.5
labels = torch.ones(1000, dtype=torch.int64)


def accuracy(batch: int) -> float:
    metric = BinaryAccuracy()
    for start in range(0, 1000, batch):
        metric.update(logits[start : start + batch], labels[start : start + batch])
    return float(metric.compute())


large, small = accuracy(100), accuracy(1)
true = float((logits > 0).float().mean())
print(f"above 0: {true:.3f}; batches of 100: {large:.3f}; batches of 1: {small:.3f}")
sys.exit(not (abs(large - true) < 1e-6 and small < true - 0.1))
PYTHON
