"""What a machine can do at most: matrix products, convolutions forward, copying."""

import statistics
import time
from collections.abc import Callable

import torch

from ravine.core.progress import Progress, no_progress
from ravine.training.speed import wait_for

_CONVOLUTIONS = ((64, 28), (128, 14), (256, 7), (256, 16))  # channels, pixels a side
_TIMES = 9


@torch.no_grad()
def machine_limits(
    device: torch.device, precision: torch.dtype, *, progress: Progress = no_progress
) -> dict[str, float]:
    """Returns matrix and convolution rates (10¹² operations/s) and copy bandwidth (GB/s) of torch.

    Args:
        device: to measure.
        precision: of products.
        progress: receives how many rates are measured.
    """
    what, count = "measuring the machine's limits", len(_CONVOLUTIONS) + 2
    progress(what, 0, count)
    found = {"matrix product, TFLOP/s": _products(device, precision)}
    rates = []
    for number, (channels, size) in enumerate(_CONVOLUTIONS, 1):
        progress(what, number, count)
        rates.append(_convolutions(channels, size, device, precision))
    found["convolution forward, TFLOP/s"] = max(rates)
    progress(what, count - 1, count)
    found["copy (read and write), GB/s"] = _copies(device)
    return found


def _products(device: torch.device, precision: torch.dtype) -> float:
    n = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device, dtype=precision) for _ in range(2))
    return _rate(2 * n**3 / 1e12, lambda: a @ b, device)


def _convolutions(channels: int, size: int, device: torch.device, precision: torch.dtype) -> float:
    batch = 128 if device.type == "cpu" else 1024
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, precision)
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(batch, channels, size, size, device=device, dtype=precision)
    x = x.contiguous(memory_format=torch.channels_last)
    work = 2 * batch * size**2 * channels**2 * 9 / 1e12
    return _rate(work, lambda: layer(x), device)


def _copies(device: torch.device) -> float:
    source = torch.randn(64 * 2**20, device=device)
    target = torch.empty_like(source)
    return _rate(2 * source.numel() * 4 / 1e9, lambda: target.copy_(source), device)


def _rate(work: float, run: Callable[[], object], device: torch.device) -> float:
    """Returns work per second, by the median."""
    run(), run()
    wait_for(device)
    found = []
    for _ in range(_TIMES):
        start = time.perf_counter()
        run()
        wait_for(device)
        found.append(time.perf_counter() - start)
    return work / statistics.median(found)
