#!/bin/bash
# torch 2.13.0: centred RMSProp turns weights into nan where the gradient stays the same.
#
# `torch.optim.RMSprop(centered=True)` divides by sqrt(E[g²] - E[g]²) + eps. For a gradient that does
# not change, both averages approach g², and in float32 their difference rounds to slightly less
# than 0 for some weights: the root is nan, eps is added after it, and the weight is lost. Default
# settings but for the learning rate, gradients of about 1, no warning; the loop and the foreach form
# agree. Full batches on a linear part of the loss have such gradients; so has a test of an
# optimizer. `centered=False` does not have it.
#
# Seen on an AMD EPYC, November 2026, of 1,000 weights and 3,000 steps:
#   centred, one tensor at a time: first nan at step 1212, 28 weights lost in the end
#   centred, foreach: first nan at step 1212, the same
#   not centred: none
#
# Ends with 0 if that is seen again, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch


def lost_weights(*, centered: bool, foreach: bool) -> tuple[int | None, int]:
    """Returns the first step with a weight that is nan, and how many there are in the end."""
    torch.manual_seed(0)
    weights = torch.zeros(1000, requires_grad=True)
    gradient = torch.randn(1000)
    optimizer = torch.optim.RMSprop([weights], lr=1e-3, centered=centered, foreach=foreach)
    first = None
    for step in range(3000):
        weights.grad = gradient.clone()
        optimizer.step()
        if first is None and bool(weights.isnan().any()):
            first = step
    return first, int(weights.isnan().sum())


one_by_one = lost_weights(centered=True, foreach=False)
together = lost_weights(centered=True, foreach=True)
plain = lost_weights(centered=False, foreach=False)
print(f"torch {torch.__version__}, first step with nan and weights lost of 1,000")
print(f"centred, one tensor at a time: {one_by_one}")
print(f"centred, foreach: {together}")
print(f"not centred: {plain}")
seen = one_by_one[0] is not None and together[0] is not None and plain == (None, 0)
sys.exit(not seen)
PYTHON
