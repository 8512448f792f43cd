#!/bin/bash
# torch 2.13.0: what a TorchDispatchMode is shown depends on inference_mode.
#
# Tools that record what a network computes (tracers, counters of operations, compilers' front ends)
# watch it through a TorchDispatchMode. Under no_grad a convolution reaches them as
# aten.convolution and a linear layer as aten.addmm: composite operations were taken apart before.
# Under inference_mode the same network is shown as aten.conv2d and aten.linear, whole. Who knows
# the parts alone, finds nothing that it knows in the mode that is recommended for inference.
#
# Seen on an AMD EPYC, December 2026:
#   no_grad: aten.zeros.default aten.convolution.default aten.relu.default aten.view.default aten.t.default aten.addmm.default
#   inference_mode: aten.zeros.default aten.conv2d.default aten.relu.default aten.flatten.using_ints aten.linear.default
#
# Ends with 0 if that is seen again, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2)).eval()
seen = {}
for mode in (torch.no_grad, torch.inference_mode):
    with mode(), Recorder() as recorder:
        network(torch.zeros(1, 1, 8, 8))
    seen[mode.__name__] = recorder.names
    print(f"{mode.__name__}: {' '.join(recorder.names)}")
parts, whole = seen["no_grad"], seen["inference_mode"]
again = "aten.convolution.default" in parts and "aten.conv2d.default" in whole
sys.exit(not (again and "aten.convolution.default" not in whole))
PYTHON
