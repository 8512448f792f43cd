"""Trained weights as values: tensors, and what is known about them."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

import torch

from ravine.core.errors import RunError
from ravine.core.tensor_file import load_tensors, save_tensors


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInput:
    """The images that weights were trained on, as far as it is known.

    Attributes:
        image_size: pixels a side; None where it is not known.
        mean: per channel, of values in 0..1; None where it is not known.
        std: per channel, of values in 0..1.
        interpolation: lanczos, bicubic or bilinear; None where it is not known.
        crop_share: share of the shorter side that is kept; None where it is not known.
        fit: how a picture became square; None where it is not known.
    """

    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    crop_share: float | None = None
    fit: str | None = None

    def settings(self) -> dict[str, Any]:
        """Returns what is known as settings of the data, by name."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedWeights:
    """Tensors that a network was trained to, and where they come from.

    Attributes:
        tensors: of any shapes, by the names of their network's state dict.
        source: where they come from, as a reader would write it.
        network: settings of their network, such as `model`; empty where it is not known.
        classes: names of the classes of their head; empty where they are not known.
        input: the images that they were trained on.
        licence: as its author states it; None where it is not stated.
        details: plain values for the record: revision, file, architecture.
    """

    tensors: Mapping[str, torch.Tensor]
    source: str
    network: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    input: NetworkInput = field(default_factory=NetworkInput)
    licence: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str | None:
        """The name of their network; None where it is not known."""
        name = self.network.get("model")
        return str(name) if name else None

    def fingerprint(self) -> str:
        """Returns a SHA-256 of names, shapes, types and bytes of all tensors."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            tensor = self.tensors[name].detach().cpu().contiguous()
            digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def refuse_not_finite(self) -> None:
        """Raises `RunError` for a tensor that holds NaN or infinity."""
        for name, tensor in self.tensors.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise RunError(
                    f"{self.source}: {name} holds numbers that are not finite; its training broke, "
                    "take other weights"
                )


def save_trained(path: Path, trained: TrainedWeights) -> None:
    """Writes trained weights with all that is known about them.

    Raises:
        RunError: the disk is full or read-only.
    """
    about = {
        "source": trained.source,
        "network": dict(trained.network),
        "classes": list(trained.classes),
        "input": asdict(trained.input),
        "licence": trained.licence,
        "details": dict(trained.details),
    }
    save_tensors(path, trained.tensors, about)


def load_trained(path: Path) -> TrainedWeights:
    """Returns the weights that `save_trained` wrote.

    Raises:
        RunError: the file is missing or torn.
    """
    tensors, about = load_tensors(path)
    try:
        known = dict(about["input"])
        for name in ("mean", "std"):
            known[name] = None if known[name] is None else tuple(known[name])
        return TrainedWeights(
            **{**about, "input": NetworkInput(**known), "classes": tuple(about["classes"])},
            tensors=tensors,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} does not hold trained weights: {error}") from None
