"""Ravine's inference against ONNX Runtime and OpenVINO: the same network, images and precision.

    python bench/inference.py [--only wrn-16-4:32:3,...] [--rounds 31] [--threads 1] [--no-keep]

NETWORK:SIZE:CHANNELS; rows of networks that are not asked for stay. Each network is exported
as ONNX and OpenVINO, and all programs take turns in one process on batches of 1 and 64: Ravine's
network as `evaluate` and `predict` run it (`nn/inference_engine.py`), onnxruntime (float32: it has
no bfloat16 on the CPU), OpenVINO in float32 and in bfloat16. It needs the extras onnx and openvino.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from results import keep, kept, processor_kind
from torch import nn

from ravine.core.device import has_fast_bfloat16
from ravine.exports.exportable import Exportable, plain_copy
from ravine.exports.facts import Facts
from ravine.exports.latency import median_with_interval
from ravine.exports.onnx_file import open_onnx, write_onnx
from ravine.exports.openvino_file import open_openvino, write_openvino
from ravine.models import build
from ravine.workflows.model_latency import forward

NETWORKS = "wrn-16-4:32:3,wrn-16-2:28:1,swift-1:32:3,resnet-18:64:3,alexnet:64:3,preact-164:32:3"
BATCHES = (1, 64)
PAUSE = 0.02  # seconds
Program = Callable[[], Any]


def network_of(name: str, size: int, channels: int) -> nn.Module:
    """Returns a network whose norms have statistics unlike those of the start."""
    torch.manual_seed(0)
    network = build(name, classes=10, channels=channels, image_size=size).eval()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
    return network.to(memory_format=torch.channels_last)


def bfloat16_openvino(path: Path, threads: int) -> Callable[[np.ndarray], Any]:
    """Returns OpenVINO's network in bfloat16."""
    hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "bf16"}
    compiled = openvino.Core().compile_model(path, "CPU", {**hints, "PERFORMANCE_HINT": "LATENCY"})
    return lambda images: compiled([images])


def programs(
    network: nn.Module, files: tuple[Path, Path], batch: int, shape: tuple[int, ...], threads: int
) -> dict[str, dict[str, Program]]:
    """Returns the programs by precision and name."""
    images = torch.randn(batch, *shape)
    given = images.numpy()
    here = images.contiguous(memory_format=torch.channels_last)
    onnx, intel = open_onnx(files[0], threads), open_openvino(files[1], threads)
    found = {
        "float32": {
            "ravine": forward(network, here, "float32"),
            "onnxruntime": lambda: onnx.run(given),
            "openvino": lambda: intel.run(given),
        }
    }
    if has_fast_bfloat16(torch.device("cpu")):
        faster = bfloat16_openvino(files[1], threads)
        found["bfloat16"] = {
            "ravine": forward(network, here, "bfloat16"),
            "openvino": lambda: faster(given),
        }
    return found


def in_turn(rows: dict[str, Program], rounds: int, *, single: bool) -> dict[str, Any]:
    """Returns median milliseconds, and Ravine's speed over that of the fastest runtime.

    As in `exports/latency.py` a turn begins with a pause, because the threads of who answered
    before go on asking for work, and for a single image with an answer that is not timed.
    """
    for program in rows.values():
        program(), program()
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, program in rows.items():
            time.sleep(PAUSE)
            if single:
                program()
            start = time.perf_counter()
            program()
            times[name].append(1000 * (time.perf_counter() - start))
    medians = {name: median_with_interval(found)[0] for name, found in times.items()}
    best = min((name for name in rows if name != "ravine"), key=medians.__getitem__)
    ratios = [b / a for a, b in zip(times["ravine"], times[best], strict=True)]
    ratio = [round(value, 2) for value in median_with_interval(ratios)]
    return {**{n: round(m, 3) for n, m in medians.items()}, "ravine / best runtime": ratio}


def measure(name: str, size: int, channels: int, *, rounds: int, threads: int) -> list[dict]:
    """Returns a row for each precision and batch."""
    network = network_of(name, size, channels)
    shape = (channels, size, size)
    facts = Facts(network=name, classes=tuple("0123456789"), input_shape=shape)
    exportable = Exportable(network=plain_copy(network), facts=facts)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "model.onnx"), Path(folder, "model.xml")
        write_onnx(exportable, files[0])
        write_openvino(exportable, files[1])
        for batch in BATCHES:
            for precision, each in programs(network, files, batch, shape, threads).items():
                row = {"network": f"{name}:{size}:{channels}", "batch": batch}
                turns = rounds if batch > 1 else 3 * rounds
                row |= {"precision": precision} | in_turn(each, turns, single=batch == 1)
                print(row, flush=True)
                rows.append(row)
    return rows


def main() -> None:
    """Measures, prints, and keeps the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-keep", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rows = []
    for one in asked.only.split(","):
        name, size, channels = one.split(":")
        rows += measure(name, int(size), int(channels), rounds=asked.rounds, threads=asked.threads)
    if not asked.no_keep:
        several = f"-{asked.threads}-threads" if asked.threads > 1 else ""
        command, name = f"bench/inference.py --threads {asked.threads}", processor_kind() + several
        others = [
            row
            for row in kept(f"inference-{name}").get("rows", [])
            if row["network"] not in asked.only.split(",")
        ]
        keep(f"inference-{name}", command, {"rows": others + rows})


if __name__ == "__main__":
    main()
