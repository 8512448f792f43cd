"""`ravine.export`: anybody's network leaves as a file that is proved on the caller's images.

Shape letters: B images, C channels, H height, W width, K classes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.core.paths import usable_path
from ravine.core.progress import Progress, no_progress
from ravine.exports.card import CardFacts, card_of
from ravine.exports.decisions import DecisionRule
from ravine.exports.exportable import Exportable, float32_copy, plain_copy
from ravine.exports.facts import Facts
from ravine.exports.proof import TOLERANCE, Proof
from ravine.exports.proved import Batch, ProofImages, Wanted, write_proved
from ravine.nn.inference_engine import InferenceEngine

Pair = tuple[Tensor, Tensor | None]


def export(
    model: nn.Module,
    batches: Iterable[Any],
    path: str | Path,
    *,
    format: str = "onnx",
    classes: Sequence[str] = (),
    name: str = "",
    int8: bool = False,
    calibration: Iterable[Tensor] = (),
    several_labels: bool = False,
    tolerance: float = TOLERANCE,
    most_lost: float = 0.01,
    progress: Progress = no_progress,
) -> Proof:
    """Writes a network into the folder `path`, and returns the proof that the file answers alike.

    The network itself is left as it is, in its mode and on its device: copies in float32 and in
    evaluation mode are exported and compared.

    Args:
        model: from images (B, C, H, W) to logits (B, K).
        batches: pairs of images (B, C, H, W) and labels (B,), or images alone; every image is run
            by both programs.
        path: of the folder; an earlier export there is replaced.
        format: onnx, pt2, openvino, or safetensors-timm for `name="timm/..."`.
        classes: the K names; by default 0 to K-1.
        name: of the network; by default that of its class.
        int8: quantise the file, calibrated on `calibration`; onnx only.
        calibration: training images (B, C, H, W), as the network takes them.
        several_labels: logits are read by a sigmoid each, labels are (B, K) of 0 and 1.
        tolerance: largest difference of a probability that is allowed.
        most_lost: accuracy, in 0..1, that an int8 file may lose.
        progress: receives the progress of slow work.

    Raises:
        RunError: the file does not answer as the network does; nothing is kept.
        SettingError: a package is missing, or the format cannot hold the network.

    >>> from ravine.models import build
    >>> import tempfile
    >>> images = torch.zeros(4, 1, 16, 16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     proof = export(
    ...         build("swift-1", classes=3, channels=1, image_size=16),
    ...         [images],
    ...         f"{folder}/exported",
    ...         format="pt2",
    ...     )
    >>> proof.images, proof.differing
    (4, 0)
    """
    wanted = Wanted(format=format, int8=int8, tolerance=tolerance, most_lost=most_lost)
    wanted.refuse_missing_packages()
    where = usable_path("path", path)
    calibrating = [_as_given(one) for one in calibration]
    if int8 and not calibrating:
        raise SettingError("int8 is calibrated on training images: calibration=[images, …]")
    first, pairs = _first_of(batches)
    answers = answering(float32_copy(model))
    facts = Facts(
        network=name or type(model).__name__,
        classes=_names(classes, answers(_as_given(first[0])[:1]).shape),
        input_shape=tuple(first[0].shape[1:]),
        rule=DecisionRule(kind="several" if several_labels else "one"),
    )
    return write_proved(
        Exportable(network=plain_copy(model), facts=facts),
        where,
        wanted,
        images=ProofImages(source="batches", count=0, batches=_given(pairs), answers=answers),
        calibration=calibrating,
        card=card_of(facts, CardFacts(name=where.name), wanted.row),
        notes=precision_notes(model),
        progress=progress,
    )


def answering(network: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what runs a network: from images (B, C, H, W) float32 to logits (B, K) float32.

    Args:
        network: in float32 and evaluation mode, on the CPU; nobody changes it meanwhile.
    """
    engine = InferenceEngine(network, is_shared=False)

    def answers(images: np.ndarray) -> np.ndarray:
        values = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            return engine(values).numpy()

    return answers


def precision_notes(model: nn.Module) -> tuple[str, ...]:
    """Returns the sentence about weights that are not float32."""
    types = {p.dtype for p in model.parameters()} - {torch.float32}
    if not types:
        return ()
    named = ", ".join(sorted(str(one).removeprefix("torch.") for one in types))
    return (f"weights in {named} leave as float32",)


def _first_of(batches: Iterable[Any]) -> tuple[Pair, Iterator[Pair]]:
    """Returns the first batch as images (B, C, H, W) and labels, and all of them.

    Raises:
        SettingError: there is none.
    """
    pairs = (_pair(batch) for batch in batches)
    first = next(pairs, None)
    if first is None:
        raise SettingError("batches is empty; pass at least one (images, labels)")
    return first, chain([first], pairs)


def _pair(batch: Any) -> Pair:
    """Returns images (B, C, H, W) and labels, or None, of a batch in one of its forms."""
    images, labels = batch, None
    if isinstance(batch, tuple | list) and len(batch) == 2:
        images, labels = batch
    elif not isinstance(batch, Tensor):
        images, labels = getattr(batch, "images", None), getattr(batch, "labels", None)
    if not isinstance(images, Tensor) or images.dim() < 2 or not len(images):
        raise SettingError(
            f"a batch is {type(batch).__name__} and no pair of images (B, C, H, W) and labels"
        )
    return images, labels


def _given(pairs: Iterable[Pair]) -> Iterator[Batch]:
    for images, labels in pairs:
        values = _as_given(images)
        known = None if labels is None else labels.detach().cpu().numpy()
        yield values, values, known


def _as_given(images: Tensor) -> np.ndarray:
    """Returns images of any shape as the file takes them."""
    return np.ascontiguousarray(images.detach().cpu().float().numpy())


def _names(classes: Sequence[str], shape: tuple[int, ...]) -> tuple[str, ...]:
    """Returns the names of K classes, for a network that gives `shape` for one image.

    Raises:
        SettingError: there are more or fewer, or the network gives no logits.
    """
    if len(shape) != 2:
        raise SettingError(f"the network gives {shape} for one image, and no logits (1, K)")
    if classes and len(classes) != shape[1]:
        raise SettingError(
            f"{len(classes)} classes are named, and the network has {shape[1]} outputs"
        )
    return tuple(classes) or tuple(map(str, range(shape[1])))
