"""Picks the network when none is named, and what a network is trained with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ravine.core.counted import counted

# From the smallest to the largest, each with the passes over the images that it needs at least.
# Measured on Fashion-MNIST and CIFAR-10 (docs/networks.md): within a fixed time a shallow network
# of many passes beats a deep one of few.
Candidates = Sequence[tuple[str, float]]
SMALL_IMAGES: Candidates = (("swift-1", 0.0), ("swift-2", 40.0), ("wrn-28-10", 100.0))
# For what swift does not have: norms other than batch norm, switches of skip connections.
RESIDUAL: Candidates = (
    ("wrn-10-1", 0.0), ("wrn-10-2", 8.0), ("wrn-16-2", 8.0), ("wrn-16-4", 8.0), ("wrn-28-10", 8.0),
)  # fmt: skip
LARGE_IMAGES: Candidates = (("swift-1", 0.0), ("swift-2", 40.0), ("resnet-50", 100.0))
LARGE_RESIDUAL: Candidates = (
    ("wrn-10-1", 0.0), ("resnet-18", 8.0), ("resnet-34", 8.0), ("resnet-50", 8.0),
)  # fmt: skip
_SMALLEST_FOR_SWIFT, _SMALL = 14, 96  # pixels a side
# Without a budget: images shown, over all epochs, from which on the networks for long runs are
# taken. Below, swift-1 is better at equal epochs and several times as fast (docs/networks.md).
_FOR_FEW, _FOR_MANY = "swift-1", {True: "wrn-16-4", False: "resnet-18"}
MANY_SHOWN = 50_000

#: Training settings of a network where the user gives none, by the beginning of its name; those of
#: the second table belong to an optimizer.
MODEL_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "swift-": {"activation": "gelu", "batch": 256, "label_smoothing": 0.2},
}
MODEL_DEFAULTS_WITH: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "nesterov": {
        "swift-": {"lr": 2.5, "momentum": 0.85, "weight_decay": 1.3e-3, "bias_lr_multiplier": 64.0},
    },
    "muon-rescaled": {
        "swift-": {"lr": 0.18, "weight_decay": 1.3e-3, "bias_lr_multiplier": 64.0},
    },
}

_STEPS_OF_AN_EPOCH = 10  # at least, and of a run by epochs:
_STEPS_OF_A_RUN = 100
SMALLEST_BATCH = 4
#: Steps of a run that are worth smaller batches, down to `_SMALLEST_FOR_STEPS`, by the beginning of
#: a network's name; but not where images are seen a few times, as smaller batches take longer and
#: then gain no more than that (docs/journal.md).
_WORTH_SMALLER = {"swift-": 1000}
_SMALLEST_FOR_STEPS, _FEW_PASSES = 64, 5.0
_SMALLEST_FOR_RATE = 8
# Of a rate that follows the batch's root, in runs of so many steps and more (docs/journal.md).
_SMALLEST_FOR_LONG_RUNS, _LONG_RUN = 32, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChoice:
    """A network and why it was taken."""

    model: str
    reason: str


def choose_for_budget(
    image_size: int, epochs_of: Callable[[str], float], *, budget: float, residual: bool
) -> NetworkChoice:
    """Returns the largest network that makes as many epochs in the budget as it needs.

    The candidates are measured from the smallest on, until one is too slow.

    Args:
        image_size: pixels a side.
        epochs_of: measures a network and returns the epochs that fit into the budget.
        budget: seconds, for the reason.
        residual: only networks with skip connections will do.
    """
    candidates = _candidates(image_size, residual=residual)
    best, needed = candidates[0]
    fits = epochs_of(best)
    for name, least in candidates[1:]:
        epochs = epochs_of(name) if fits >= least else 0.0
        if epochs < least:
            break
        best, needed, fits = name, least, epochs
    wanted = f" (at least {needed:.0f} wanted)" if needed else ""
    return NetworkChoice(
        model=best,
        reason=f"{best}: the largest network that sees each image often enough, about {fits:.1f} "
        f"times in {budget:.0f} s here{wanted}; a rule, as no runs on data like this were measured",
    )


def _candidates(image_size: int, *, residual: bool) -> Candidates:
    if image_size > _SMALL:
        return LARGE_RESIDUAL if residual else LARGE_IMAGES
    return RESIDUAL if residual or image_size < _SMALLEST_FOR_SWIFT else SMALL_IMAGES


def choose_for_epochs(
    image_size: int, *, images: int, epochs: float, residual: bool
) -> NetworkChoice:
    """Returns the network that is taken when epochs, and not a budget, are given.

    Args:
        image_size: pixels a side.
        images: that are trained on or held out, of which every fold has the same number.
        epochs: of the run.
        residual: only networks with skip connections will do.
    """
    many = _FOR_MANY[image_size <= _SMALL]
    size = f"{image_size}×{image_size}"
    if residual or image_size < _SMALLEST_FOR_SWIFT:
        return NetworkChoice(model=many, reason=f"{many}: the default for {size} images")
    few = images * epochs < MANY_SHOWN
    model, other = (_FOR_FEW, f"{many} from") if few else (many, f"{_FOR_FEW} below")
    return NetworkChoice(
        model=model,
        reason=f"{model}: the default for {counted(images, 'image')} of {size} and "
        f"{counted(epochs, 'epoch', form='g')} "
        f"({other} {MANY_SHOWN:,} images × epochs)",
    )


def model_defaults(model: str, *, optimizer: str) -> Mapping[str, Any]:
    """Returns the settings that this network is best trained with; none for most.

    >>> model_defaults("swift-1", optimizer="adam")
    {'activation': 'gelu', 'batch': 256, 'label_smoothing': 0.2}
    """
    return {
        name: value
        for table in (MODEL_DEFAULTS, MODEL_DEFAULTS_WITH.get(optimizer, {}))
        for start, settings in table.items()
        if model.startswith(start)
        for name, value in settings.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChoice:
    """A batch, the one that it would be with images enough, and why it was taken.

    Attributes:
        batch: images of a step.
        largest: the same with images enough.
        reason: in words.
        steps: of the run, None where a budget decides.
    """

    batch: int
    largest: int
    reason: str
    steps: float | None = None

    def batch_of_rate(self, *, normalised: bool = True, by_root: bool = False) -> int:
        """Returns the batch whose default learning rate fits, in networks with a norm or without.

        The learning rate follows the batch down to 8 images: below, the steps that are left are too
        few for a smaller one. By its root it falls less, and a run of 200 steps and more, or by
        seconds, has that of 32 images at least. Where no layer normalises it stays that of
        `largest`: there the steepest slope of the first steps limits it, whatever the batch.
        """
        if not normalised:
            return self.largest
        is_long = self.steps is None or self.steps >= _LONG_RUN
        least = _SMALLEST_FOR_LONG_RUNS if by_root and is_long else _SMALLEST_FOR_RATE
        return max(self.batch, min(self.largest, least))


def choose_batch(
    images: int,
    *,
    largest: int,
    epochs: float | None,
    smallest: int = SMALLEST_BATCH,
    model: str = "",
    within: float | None = None,
) -> BatchChoice:
    """Returns the largest batch that leaves a run enough steps: `largest`, halved as needed.

    Enough are 10 steps an epoch, and 100 in a run whose epochs are given; of swift 1,000, where
    images are seen five times and more, as long as batches have 64 images.

    Args:
        images: that are trained on.
        largest: what is taken where there are images enough.
        epochs: of the run, None where a budget decides.
        smallest: no batch is halved below it.
        model: the network's name.
        within: epochs that a budget leaves time for, None where that is not known.

    >>> choose_batch(60_000, largest=128, epochs=1).batch
    128
    >>> choose_batch(162, largest=128, epochs=10).batch
    16
    >>> choose_batch(9_000, largest=256, epochs=12, model="swift-1").batch
    64
    """
    wanted = _steps_worth_smaller(model)
    passes = (within if epochs is None else epochs) or 0.0
    if passes < _FEW_PASSES:
        wanted = 0
    batch = largest
    while batch // 2 >= smallest:
        pays = batch // 2 >= _SMALLEST_FOR_STEPS and images * passes < wanted * batch
        if _leaves_enough(images // batch, epochs) and not pays:
            break
        batch //= 2
    return BatchChoice(
        batch=batch,
        largest=largest,
        steps=None if epochs is None else max(1, images // batch) * epochs,
        reason=f"batches of {batch}, not {largest}, for {images} training images: "
        f"{max(1, images // batch)} steps an epoch",
    )


def is_worth_smaller(model: str) -> bool:
    """Returns whether the length of a run decides the batch of this network."""
    return _steps_worth_smaller(model) > 0


def _steps_worth_smaller(model: str) -> int:
    return next((n for start, n in _WORTH_SMALLER.items() if model.startswith(start)), 0)


def _leaves_enough(steps: int, epochs: float | None) -> bool:
    return steps >= _STEPS_OF_AN_EPOCH and (epochs is None or steps * epochs >= _STEPS_OF_A_RUN)
