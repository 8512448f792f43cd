"""The memory of a training step: measured on a few images, and the batch that fits.

What a step keeps for the backward pass grows with the batch; it is counted on two sub-batches,
so that what does not grow is told apart. Weights, gradients and the optimizer's state come on top.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.core.memory import available_memory, is_out_of_memory
from ravine.core.preserve_state import preserve_state
from ravine.nn.freezing import training_mode_
from ravine.training.loop import Training

_IMAGES = 2, 4  # of the two sub-batches
_PEAK = 1.75  # of what is kept, with gradients of activations and workspaces: 1.2 to 1.75 measured
_COPIES = 4  # of the weights: themselves, gradients, two moments
_MARGIN = 0.9  # of the available memory that a proposed batch may take


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StepMemory:
    """What a training step takes, in bytes.

    Attributes:
        fixed: whatever the batch.
        image: kept for each image of the batch, from the forward pass to the backward.
        available: what the machine had, None where that is not known.
    """

    fixed: int
    image: float
    available: int | None

    def of_batch(self, batch: int) -> int:
        """Returns the bytes that a step on `batch` images takes at least."""
        return self.fixed + math.ceil(batch * self.image)

    def largest_batch(self) -> int:
        """Returns the largest batch that fits, 0 for none; a multiple of 8 where it is larger."""
        if self.available is None:
            return 0
        fits = int(max(0.0, _MARGIN * self.available - self.fixed) / max(_PEAK * self.image, 1.0))
        return fits - fits % 8 if fits > 8 else fits

    def doubt(self, batch: int) -> str | None:
        """Returns a line about a batch that may not fit; None for one that fits.

        The kernel kills a process that passes the limit of its control group, without a word.
        """
        peak = self.fixed + math.ceil(batch * _PEAK * self.image)
        fits = self.largest_batch()
        if self.available is None or peak <= self.available or not 2 <= fits < batch:
            return None
        return (
            f"a step of {batch} images may take up to {_size(peak)}, and {_size(self.available)} "
            f"are free (measured: {_size(int(self.image))} an image); if it is killed: "
            f"--batch {fits}"
        )

    def refusal(self, model: str, batch: int, *, below: int | None = None) -> SettingError:
        """Returns the line about a batch that does not fit, with one that does.

        Args:
            model: name of the network.
            batch: that does not fit.
            below: the proposed batch is smaller than this.
        """
        fits = self.largest_batch()
        fits = fits if below is None else min(fits, below - 1)
        remedy = "take a smaller network (--model), or smaller images (--image-size)"
        if fits >= 2:
            remedy = f"--batch {fits} fits"
        free = "" if self.available is None else f", and {_size(self.available)} are free"
        return SettingError(
            f"not enough memory for batch {batch} of {model}: a step takes at least "
            f"{_size(self.of_batch(batch))}{free} (measured: {_size(int(self.image))} an image); "
            f"{remedy}"
        )


def measure_step_memory(
    training: Training, device: torch.device, *, channels: int, image_size: int
) -> StepMemory:
    """Returns what a step takes: black images pass through the network, which is left as it was.

    Args:
        training: of the network.
        device: of the network.
        channels: of the images.
        image_size: pixels a side.
    """
    model, settings = training.state.model, training.step
    black = torch.zeros(max(_IMAGES), channels, image_size, image_size, device=device)
    images = black.contiguous(memory_format=torch.channels_last)
    narrow = settings.precision != torch.float32
    kept = []
    with (
        preserve_state(model),
        torch.autocast(device.type, settings.precision, enabled=narrow),
    ):
        training_mode_(model)
        for count in _IMAGES:
            kept.append(_bytes_kept(model, images[:count]))
    few, many = _IMAGES
    growth = max(0.0, (kept[1] - kept[0]) / (many - few))
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return StepMemory(
        fixed=_COPIES * weights,
        image=growth + images[0].numel() * images.element_size(),
        available=_available(device),
    )


def _bytes_kept(model: nn.Module, images: torch.Tensor) -> int:
    """Returns the bytes that the forward pass of images (B, C, H, W) keeps for the backward."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(images)
    del logits
    return sum(sizes.values())


def _available(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()


@contextmanager
def refusing_too_large(memory: StepMemory | None, model: str, batch: int) -> Iterator[None]:
    """Turns an allocation that fails into `SettingError`, with a batch that fits.

    Args:
        memory: what was measured of a step, where it was.
        model: name of the network.
        batch: images of a step.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if memory is None:
            raise SettingError(
                f"not enough memory for batch {batch} of {model}; take a smaller --batch"
            ) from error
        raise memory.refusal(model, batch, below=max(2, batch // 2 + 1)) from error


def refuse_too_large(memory: StepMemory | None, model: str, batch: int) -> None:
    """Raises `SettingError` for a batch whose step takes more than the memory that is there."""
    if memory is None or memory.available is None:
        return
    if memory.of_batch(batch) > memory.available:
        raise memory.refusal(model, batch)


def _size(count: int) -> str:
    value: Any = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"
