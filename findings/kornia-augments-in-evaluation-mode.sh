#!/bin/bash
# kornia 0.9.0: augmentations go on in evaluation mode.
#
# kornia's augmentations are nn.Modules, and its tutorials put them inside of a network or a data
# module to run on batches. `model.eval()` switches dropout and batch norm, but not them: a network
# with a RandomHorizontalFlip in front answers the same images differently from call to call, and
# RandomErasing cuts holes into validation images. The flag `training` is set to False and not read.
#
# Seen on an AMD EPYC, November 2026, with p = 1, after .eval():
#   RandomHorizontalFlip: images changed
#   RandomErasing: images changed
#   AugmentationSequential of a flip: images changed
#
# Ends with 0 if that is seen again, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.14.1 kornia==0.9.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import kornia.augmentation as augmentation
import torch

images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
found = {
    "RandomHorizontalFlip": augmentation.RandomHorizontalFlip(p=1.0),
    "RandomErasing": augmentation.RandomErasing(p=1.0),
    "AugmentationSequential of a flip": augmentation.AugmentationSequential(
        augmentation.RandomHorizontalFlip(p=1.0)
    ),
}
changed = []
for name, layer in found.items():
    layer.eval()
    assert not layer.training
    changed.append(not torch.equal(layer(images), images))
    print(f"{name}: images {'changed' if changed[-1] else 'unchanged'}")
sys.exit(not all(changed))
PYTHON
