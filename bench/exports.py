"""Exports of many networks, each proved on 1,000 images: Ravine's own families and timm's.

    python bench/exports.py [--formats onnx,pt2,openvino] [--images 1000] [--only NAME,...]

Weights are fresh, with statistics of the norms that a training might have left, and heads scaled so
that probabilities spread. timm's networks are tried where timm is installed. Rows of networks and
formats that are not tried stay in the results.
"""

import argparse
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import torch
from results import keep, kept
from torch import nn

import ravine
from ravine.core.errors import RavineError
from ravine.exports.needed_module import needed

OWN = {
    "wrn-16-4": 32, "resnet-18": 64, "preact-164": 32, "alexnet": 64, "alexnet-2014": 64,
    "swift-1": 32,
}  # fmt: skip
TIMM = {
    "resnet18": 64, "resnext50_32x4d": 64, "regnety_002": 64, "efficientnet_b0": 64,
    "mobilenetv3_small_100": 64, "densenet121": 64, "convnext_atto": 64, "repvgg_a0": 64,
    "vgg11_bn": 64, "ghostnet_100": 64, "hrnet_w18_small": 64, "inception_v4": 96,
    "xception41": 64, "dla34": 64,
}  # fmt: skip
CLASSES = 10


def network_of(name: str, size: int) -> nn.Module:
    """Returns a network with settled statistics and probabilities that spread."""
    torch.manual_seed(0)
    if name.startswith("timm/"):
        timm = needed("timm", extra="timm", what="this benchmark")
        network = timm.create_model(name.removeprefix("timm/"), num_classes=CLASSES)
    else:
        network = ravine.models.build(name, classes=CLASSES, image_size=size)
    network.train()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d) and layer.weight is not None:
                layer.weight.uniform_(0.7, 1.3)
                layer.bias.normal_(std=0.2)
                layer.momentum = 0.5
        for _ in range(4):
            network(torch.randn(16, 3, size, size))
        network.eval()
        spread = network(torch.randn(64, 3, size, size)).std()
        last = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
        last.weight.mul_(3 / spread)
    return network


def tried(name: str, size: int, formats: list[str], images: int) -> dict[str, object]:
    """Returns what became of a network in each format."""
    network = network_of(name, size)
    generator = torch.Generator().manual_seed(1)
    batches = [
        torch.randn(min(50, images - start), 3, size, size, generator=generator)
        for start in range(0, images, 50)
    ]
    row: dict[str, object] = {"network": name, "size": size}
    for one in formats:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                proof = ravine.export(network, batches, Path(folder, "out"), format=one, name=name)
                row[one] = {
                    "differing": proof.differing,
                    "images": proof.images,
                    "largest_difference": float(f"{proof.largest_difference:.2g}"),
                    "folded": proof.folded_norms,
                    "megabytes": round(proof.bytes / 1e6, 2),
                }
            except RavineError as error:
                row[one] = f"refused: {error}"
        print(name, one, row[one], f"{time.perf_counter() - start:.0f} s", flush=True)
    return row


def add(row: dict[str, object], images: int) -> None:
    """Keeps a network's row beside those of the others, and of its other formats."""
    rows = {one["network"]: one for one in kept("exports").get("rows", [])}
    rows[row["network"]] = rows.get(row["network"], {}) | row
    keep("exports", "bench/exports.py", {"images": images, "rows": list(rows.values())})


def main() -> None:
    """Tries all networks, prints, and keeps the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--formats", default="onnx,pt2")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--only", default="")
    parser.add_argument("--no-keep", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    names = dict(OWN)
    if find_spec("timm"):
        names |= {f"timm/{name}": size for name, size in TIMM.items()}
    chosen = [name for name in names if not asked.only or name in asked.only.split(",")]
    formats = asked.formats.split(",")
    for name in chosen:
        row = tried(name, names[name], formats, asked.images)
        if not asked.no_keep:
            add(row, asked.images)


if __name__ == "__main__":
    main()
