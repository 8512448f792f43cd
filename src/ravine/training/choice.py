"""Picks the network when none is named: the largest that sees the images often enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# From the smallest to the largest. Measured on Fashion-MNIST and CIFAR-10 (docs/networks.md):
# within a fixed time a wide shallow network of few passes beats a deep one of fewer.
SMALL_IMAGES: Sequence[str] = ("wrn-10-1", "wrn-10-2", "wrn-16-2", "wrn-16-4", "wrn-28-10")
LARGE_IMAGES: Sequence[str] = ("wrn-10-1", "resnet-18", "resnet-34", "resnet-50")
_SMALL = 96  # pixels a side
_WITHOUT_BUDGET = {True: "wrn-16-4", False: "resnet-18"}
LEAST_EPOCHS = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A network and why it was taken."""

    model: str
    reason: str


def choose_for_budget(
    image_size: int, epochs_of: Callable[[str], float], *, budget: float
) -> Choice:
    """Returns the largest network that makes at least `LEAST_EPOCHS` epochs in the budget.

    The candidates are measured from the smallest on, until one is too slow.

    Args:
        image_size: pixels a side.
        epochs_of: measures a network and returns the epochs that fit into the budget.
        budget: seconds, for the reason.
    """
    candidates = SMALL_IMAGES if image_size <= _SMALL else LARGE_IMAGES
    best, fits = candidates[0], epochs_of(candidates[0])
    for name in candidates[1:]:
        epochs = epochs_of(name) if fits >= LEAST_EPOCHS else 0.0
        if epochs < LEAST_EPOCHS:
            break
        best, fits = name, epochs
    return Choice(
        model=best,
        reason=f"{best}: the largest network that sees each image about {fits:.1f} times "
        f"in {budget:.0f} s here (at least {LEAST_EPOCHS:.0f} wanted)",
    )


def choose_for_epochs(image_size: int) -> Choice:
    """Returns the network that is taken when epochs, and not a budget, are given."""
    model = _WITHOUT_BUDGET[image_size <= _SMALL]
    return Choice(model=model, reason=f"{model}: the default for {image_size}×{image_size} images")
