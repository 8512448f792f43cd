"""The data of the zoo: Fashion-MNIST (the sample that ships with Ravine) and CIFAR-10.

Both as tensors, normalised by channel; images halved in size, so that runs take seconds.
"""

import io
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

Pairs = tuple[Tensor, Tensor]


def _fashion() -> tuple[Pairs, Pairs]:
    data = open_dataset(DataSettings(data="@fashion", validation=0.0), seed=0)
    x = torch.from_numpy(data.images).permute(0, 3, 1, 2)
    y = torch.from_numpy(data.labels).long()
    train, test = (torch.from_numpy(data.splits[name]) for name in ("train", "test"))
    return (x[train], y[train]), (x[test], y[test])


def _cifar(file: Path) -> tuple[Pairs, Pairs]:
    """Reads SPLIT/CLASS/NAME.jpg out of an archive."""
    found: dict[str, tuple[list[np.ndarray], list[str]]] = {}
    with tarfile.open(file) as archive:
        for member in archive:
            parts = Path(member.name).parts
            content = archive.extractfile(member) if member.isfile() else None
            if content is None or len(parts) < 3 or not parts[-1].endswith((".jpg", ".png")):
                continue
            pixels, names = found.setdefault(parts[-3], ([], []))
            pixels.append(np.asarray(Image.open(io.BytesIO(content.read())).convert("RGB")))
            names.append(parts[-2])
    classes = sorted(set(found["train"][1]))
    pairs = [
        (
            torch.from_numpy(np.stack(found[split][0])).permute(0, 3, 1, 2),
            torch.tensor([classes.index(name) for name in found[split][1]]),
        )
        for split in ("train", "test")
    ]
    return pairs[0], pairs[1]


@cache
def images(source: str, cifar: Path | None) -> tuple[Pairs, Pairs]:
    """Returns training and test images (N, C, H, W) with their labels.

    Without the file of CIFAR-10 its place is taken by Fashion-MNIST.
    """
    pairs = _cifar(cifar) if source == "cifar" and cifar else _fashion()
    parts = []
    for (x, y), most in zip(pairs, (8000, 1000), strict=True):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:most]
        parts.append((F.avg_pool2d(x[order].float() / 255, 2), y[order]))
    mean = parts[0][0].mean((0, 2, 3), keepdim=True)
    std = parts[0][0].std((0, 2, 3), keepdim=True)
    normalised = [((x - mean) / std, y) for x, y in parts]
    return normalised[0], normalised[1]
