"""How fast a run's network answers on this machine: for 1 and for 64 images at a time."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ravine.core.device import has_fast_bfloat16
from ravine.exports.latency import latency
from ravine.nn.inference_engine import InferenceEngine

_TIMED = (1, 64)  # images at a time
_CPU = torch.device("cpu")


def latency_lines(network: nn.Module, *, channels: int, image_size: int) -> list[str]:
    """Returns a line for each number of images, with each precision that is fast here.

    Args:
        network: in evaluation mode, on the CPU.
        channels: of the images.
        image_size: pixels a side.
    """
    precisions = ["float32", *(["bfloat16"] if has_fast_bfloat16(_CPU) else [])]
    lines = []
    for count in _TIMED:
        images = torch.zeros(count, channels, image_size, image_size)
        images = images.contiguous(memory_format=torch.channels_last)
        found = latency({name: forward(network, images, name) for name in precisions})
        times = ", ".join(
            f"{ms:.2f} ms in {name} ({1000 * count / ms:,.0f} images/s)"
            for name, ms in found.milliseconds.items()
        )
        threads = torch.get_num_threads()
        images_text = "1 image" if count == 1 else f"{count} images"
        lines.append(f"{images_text} on {threads} thread{'s' if threads > 1 else ''}: {times}")
    return lines


def forward(network: nn.Module, images: Tensor, precision: str) -> Callable[[], Tensor]:
    """Returns what runs a network once, as `predict` runs it.

    Args:
        network: in evaluation mode, on the CPU; nobody changes it meanwhile.
        images: (B, C, S, S), in channels_last.
        precision: float32 or bfloat16.
    """
    engine = InferenceEngine(network, is_shared=False)

    def run() -> Tensor:
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
        with torch.no_grad(), autocast:
            return engine(images)

    return run
