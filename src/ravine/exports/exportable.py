"""From a network to a program of plain operations: torch.export, on any number of images.

Ravine's layers go through its C library where they can, which no other runtime has; while a network
is captured the library is hidden, and the layers run by torch's own operations.

Shape letters: B images, C channels, H height, W width, S side of the square, K classes.
"""

import copy
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ravine.core.errors import SettingError
from ravine.exports.facts import Facts
from ravine.exports.fold_norms import fold_norms_
from ravine.kernels.library import without_library

_IMAGES = 2  # of the example: with one, torch takes the batch for a constant


class FromBytes(nn.Module):
    """A network with its preprocessing: bytes (B, S, S, C) uint8 to probabilities (B, K) float32.

    Args:
        network: from normalised images (B, C, S, S) to logits (B, K).
        facts: with the preprocessing.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, facts: Facts) -> None:
        super().__init__()
        assert facts.preprocessing is not None
        self.network = network
        self.decide = facts.rule.layer()
        mean = torch.tensor(facts.preprocessing.mean, dtype=torch.float64)[:, None, None]
        std = torch.tensor(facts.preprocessing.std, dtype=torch.float64)[:, None, None]
        self.register_buffer("scale", (1 / (255 * std)).float())
        self.register_buffer("shift", (-mean / std).float())

    def forward(self, images: Tensor) -> Tensor:
        """Returns probabilities (B, K) of images (B, S, S, C) uint8."""
        values = images.permute(0, 3, 1, 2).float() * self.scale + self.shift
        probabilities: Tensor = self.decide(self.network(values))
        return probabilities


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A network as a program of torch's plain operations.

    Attributes:
        program: its input has a first axis of any length.
        folded: how many norms were folded into the convolutions before them.
    """

    program: ExportedProgram
    folded: int


@final
@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A network that is to leave.

    Attributes:
        network: from images (B, C, H, W) float32 to logits (B, K), in evaluation mode, on the CPU.
        facts: what the file says of it.
    """

    network: nn.Module
    facts: Facts

    @property
    def example(self) -> Tensor:
        """Images as the file takes them, (2, C, H, W) float32 or (2, S, S, C) uint8."""
        channels, height, width = self.facts.input_shape
        if self.facts.inside:
            return torch.zeros(_IMAGES, height, width, channels, dtype=torch.uint8)
        return torch.zeros(_IMAGES, channels, height, width)

    @cached_property
    def captured(self) -> Captured:
        """The network as plain operations, with its norms folded.

        Raises:
            SettingError: torch cannot capture it for any number of images.
        """
        whole = FromBytes(self.network, self.facts) if self.facts.inside else self.network
        program = _capture(whole, self.example)
        return Captured(program=program, folded=fold_norms_(program))


def float32_copy(network: nn.Module) -> nn.Module:
    """Returns a copy in float32, in evaluation mode, on the CPU, as Ravine runs it.

    Raises:
        SettingError: it cannot be copied.
    """
    try:
        copied = copy.deepcopy(network)
    except Exception as error:
        raise SettingError(f"the network cannot be copied: {_first_line(error)}") from error
    plain: nn.Module = copied.cpu().float().eval().requires_grad_(False)
    return plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def plain_copy(network: nn.Module) -> nn.Module:
    """Returns such a copy in torch's own layout, to be captured.

    Raises:
        SettingError: it cannot be copied.
    """
    copied = float32_copy(network)
    return copied.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _capture(network: nn.Module, example: Tensor) -> ExportedProgram:
    shapes = ({0: Dim("batch", min=1)},)
    try:
        with without_library(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own code
            return torch.export.export(network, (example,), dynamic_shapes=shapes)
    except Exception as error:
        raise SettingError(
            f"torch cannot export the network for any number of images: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if "specialized it" in line), lines[0] if lines else "")
    return f"{type(error).__name__}: {told.removeprefix('- ')[:200]}"
