"""Training losses as they are shown: above the least that their own targets allow.

A cross-entropy is never below the entropy of its targets, which label smoothing, mixup and cutmix
raise. The floor is that of the same steps, not the expected one: with few steps a mean over the
draws of cutmix may lie above the loss.
"""

from collections.abc import Mapping
from typing import Any, Final

_FLOORS: Final = {"loss": "loss_floor", "train_loss": "train_loss_floor"}


def shown_loss(loss: float, floor: float | None) -> float:
    """Returns a training loss without its floor; a floor that is not known is 0.

    >>> round(shown_loss(1.005, 0.867), 3), shown_loss(0.3, None), shown_loss(0.5, 0.5000001)
    (0.138, 0.3, 0.0)
    """
    return max(loss - (floor or 0.0), 0.0) if (floor or 0.0) > 0 else loss


def with_shown_loss(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Returns a row of history.jsonl with its training loss as it is shown.

    Args:
        row: of steps or of an epoch; what is no number stays as it is.
        key: of its training loss: loss, or train_loss.
    """
    loss, floor = row.get(key), row.get(_FLOORS[key])
    if not (isinstance(loss, int | float) and isinstance(floor, int | float)):
        return dict(row)
    return {**row, key: shown_loss(loss, floor)}
