"""The proof of an export: the network and the file that was just written, on the same images.

A file answers as its network does if the largest difference of their probabilities is within the
tolerance. Decisions then differ only where the network itself wavers by no more than twice that.

Shape letters: N images, B images of a batch, K classes.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, final

import numpy as np

from ravine.core.errors import RunError
from ravine.core.progress import Progress, no_progress
from ravine.core.wilson_interval import wilson_interval
from ravine.exports.decisions import DecisionRule
from ravine.exports.latency import Latency
from ravine.exports.runner import Runner

TOLERANCE = 1e-4
"""Largest difference of a probability between float32 programs: rounding stays far below it."""

_ALONE = 8  # images that are also run one by one: a batch that was frozen shows


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ProofBatch:
    """Images on which both programs are run.

    Attributes:
        answers: the network's own probabilities, (B, K) float64.
        images: as the file takes them, (B, C, H, W) float32 or (B, S, S, C) uint8.
        labels: (B,) classes, or (B, K) of 0 and 1; None where they are not known.
    """

    answers: np.ndarray
    images: np.ndarray
    labels: np.ndarray | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The share of images that are decided as their labels say, with its 95 % interval."""

    value: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, hits: np.ndarray) -> "Accuracy":
        """Returns the accuracy of hits (N,) bool."""
        count = int(hits.sum())
        return cls(value=count / len(hits), interval=wilson_interval(count, len(hits)))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What both programs answered, and how fast.

    Attributes:
        format: of the file.
        runtime: what ran the file, with its version.
        images: N.
        source: of the images.
        differing: images that are decided otherwise.
        largest_difference: of a probability.
        tolerance: what the largest difference may be; of int8, None.
        accuracy: of the network; None without labels.
        exported_accuracy: of the file; None without labels.
        lost: points of accuracy that the file loses, in 0..1, with its 95 % interval, of the
            same images in pairs; None without labels.
        most_lost: what an int8 file may lose; None of others.
        latency: by images at a time, of `network` and `exported`, and of `float32` for int8.
        threads: of both.
        bytes: size of the file with its weights.
        folded_norms: norms that went into convolutions; None where no graph was made.
        notes: sentences on what is not as in the training.
    """

    format: str
    runtime: str
    images: int
    source: str
    differing: int
    largest_difference: float
    tolerance: float | None = TOLERANCE
    accuracy: Accuracy | None = None
    exported_accuracy: Accuracy | None = None
    lost: tuple[float, tuple[float, float]] | None = None
    most_lost: float | None = None
    latency: Mapping[str, Latency] = field(default_factory=dict)
    threads: int = 1
    bytes: int = 0
    folded_norms: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the file may be kept."""
        if self.most_lost is not None:
            return self.lost is None or self.lost[0] <= self.most_lost
        assert self.tolerance is not None
        return self.largest_difference <= self.tolerance  # False for NaN

    @property
    def fault(self) -> str:
        """Why the file may not be kept, in a clause."""
        if self.most_lost is not None and self.lost is not None:
            low, high = self.lost[1]
            return (
                f"int8 loses {100 * self.lost[0]:.2f} points of accuracy ({100 * low:.2f} to "
                f"{100 * high:.2f}) on {self.images:,} images ({self.source}), "
                f"{100 * self.most_lost:g} are allowed"
            )
        return (
            f"its probabilities differ from the network's by up to {self.largest_difference:.2g} "
            f"on {self.images:,} images ({self.source}), {self.tolerance:g} is allowed, and "
            f"{self.differing:,} decisions are others"
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, as they stand in proof.json."""
        return asdict(self) | {"holds": self.holds}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Returns the proof in a proof.json, without its times.

        Raises:
            RunError: it was not written by Ravine.
        """
        try:
            exported = values["exported_accuracy"]
            return cls(
                format=str(values["format"]),
                runtime=str(values["runtime"]),
                images=int(values["images"]),
                source=str(values["source"]),
                differing=int(values["differing"]),
                largest_difference=float(values["largest_difference"]),
                exported_accuracy=exported
                and Accuracy(value=float(exported["value"]), interval=tuple(exported["interval"])),
                bytes=int(values["bytes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"a proof.json was not written by Ravine: {error}") from None


@final
@dataclass(slots=True)
class _Tally:
    """What is compared so far."""

    rule: DecisionRule
    images: int = 0
    differing: int = 0
    largest: float = 0.0
    hits: list[np.ndarray] = field(default_factory=list)
    exported_hits: list[np.ndarray] = field(default_factory=list)

    def add(self, batch: ProofBatch, found: np.ndarray) -> None:
        """Adds a batch with the file's probabilities (B, K)."""
        apart = float(np.abs(found - batch.answers).max())
        self.largest = float(np.maximum(self.largest, apart))  # NaN stays
        self.differing += int(self.rule.differing(batch.answers, found).sum())
        self.images += len(found)
        if batch.labels is not None:
            self.hits.append(self.rule.hits(batch.answers, batch.labels))
            self.exported_hits.append(self.rule.hits(found, batch.labels))


def compare(
    batches: Iterable[ProofBatch],
    runner: Runner,
    *,
    rule: DecisionRule,
    gives_probabilities: bool,
    total: int,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Returns the fields of a `Proof` that compare answers.

    Args:
        batches: of images, with the network's answers; one at least.
        runner: the file.
        rule: how logits become probabilities and decisions.
        gives_probabilities: the file does, else logits.
        total: images, for the progress.
        progress: receives how many are done.

    Raises:
        RunError: the file gives other shapes than the network.
    """

    def answers(images: np.ndarray) -> np.ndarray:
        found = runner.run(images)
        return found.astype(np.float64) if gives_probabilities else rule.probabilities(found)

    tally = _Tally(rule)
    for batch in batches:
        found = answers(batch.images)
        if tally.images == 0:
            alone = min(_ALONE, len(batch.images))
            each = [answers(batch.images[k : k + 1]) for k in range(alone)]
            _compare_alone(tally, batch, each)
        _refuse_other_shape(found, batch.answers)
        tally.add(batch, found)
        progress("comparing answers", tally.images, total)
    return _fields(tally)


def _compare_alone(tally: _Tally, batch: ProofBatch, each: list[np.ndarray]) -> None:
    """Compares images that were run one by one; they are not counted."""
    for k, found in enumerate(each):
        _refuse_other_shape(found, batch.answers[k : k + 1])
    alone = _Tally(tally.rule)
    alone.add(
        ProofBatch(answers=batch.answers[: len(each)], images=batch.images), np.concatenate(each)
    )
    tally.largest = alone.largest


def _refuse_other_shape(found: np.ndarray, answers: np.ndarray) -> None:
    if found.shape != answers.shape:
        raise RunError(
            f"the export gives {found.shape} for images of which the network gives "
            f"{answers.shape}; nothing is kept"
        )


def _fields(tally: _Tally) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "images": tally.images,
        "differing": tally.differing,
        "largest_difference": tally.largest,
    }
    if tally.hits:
        own, exported = np.concatenate(tally.hits), np.concatenate(tally.exported_hits)
        fields["accuracy"] = Accuracy.of(own)
        fields["exported_accuracy"] = Accuracy.of(exported)
        fields["lost"] = paired_loss(own, exported)
    return fields


def paired_loss(own: np.ndarray, exported: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Returns the accuracy lost, and its 95 % interval, from hits on the same images.

    Agresti, Min, "Simple improved confidence intervals for comparing matched proportions", 2005:
    Wald's interval with half an observation added to each of the four cells.

    Args:
        own: (N,) bool, of the network.
        exported: (N,) bool, of the file.

    >>> own = np.array([True] * 90 + [False] * 10)
    >>> loss, (low, high) = paired_loss(own, np.roll(own, -2))
    >>> loss, round(low, 3), round(high, 3)
    (0.0, -0.043, 0.043)
    """
    count = len(own)
    only_own = float((own & ~exported).sum())
    only_exported = float((exported & ~own).sum())
    total = count + 2
    first, second = (only_own + 0.5) / total, (only_exported + 0.5) / total
    centre = first - second
    half = 1.959963984540054 * math.sqrt(max(0.0, first + second - centre**2) / total)
    return (only_own - only_exported) / count, (centre - half, centre + half)
