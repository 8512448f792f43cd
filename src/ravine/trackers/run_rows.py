"""The rows of a run as names and values: one vocabulary in every tracker."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ravine.core.snapshot import Snapshot

# Of history.jsonl; the name says of what, then what.
_STEP: Final = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "exact_match": "train/exact_match",
    "lr": "train/lr",
    "gradient_norm": "train/gradient_norm",
    "images_per_second": "train/images_per_second",
    "skipped": "train/skipped",
}
_EPOCH: Final = {
    "train_loss": "epoch/train_loss",
    "train_accuracy": "epoch/train_accuracy",
    "loss": "validation/loss",
    "accuracy": "validation/accuracy",
    "mean_ap": "validation/mean_ap",
    "macro_f1": "validation/macro_f1",
}


def scalars_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns the finite values of a row of history.jsonl by name.

    >>> scalars_of({"kind": "step", "step": 3, "loss": 1.5, "lr": None})
    {'train/loss': 1.5}
    """
    names = {"step": _STEP, "epoch": _EPOCH}.get(str(row.get("kind")), {})
    found: dict[str, Any] = {name: row.get(key) for key, name in names.items()}
    interval = row.get("interval")
    if names is _EPOCH and isinstance(interval, Sequence) and len(interval) == 2:
        found |= {"validation/accuracy_low": interval[0], "validation/accuracy_high": interval[1]}
    return {name: float(value) for name, value in found.items() if _is_finite(value)}


def layer_scalars(snapshot: Snapshot[float]) -> dict[str, float]:
    """Returns the layer statistics of a snapshot by name: standard deviations, ratios, norms."""
    found: dict[str, float] = {}
    for name, layer in snapshot.layers.items():
        for key, value in (("std", layer.var), ("gradient_std", layer.gradient_var)):
            if _is_finite(value) and value is not None and value >= 0:
                found[f"layers/{name}/{key}"] = math.sqrt(value)
        if layer.dead is not None and _is_finite(layer.dead):
            found[f"layers/{name}/dead"] = layer.dead
    for name, tensor in snapshot.parameters.items():
        for key in ("update_ratio", "gradient_norm"):
            value = getattr(tensor, key)
            if _is_finite(value):
                found[f"weights/{name}/{key}"] = value
    return found


def layer_histograms(snapshot: Snapshot[float]) -> Iterator[tuple[str, list[float]]]:
    """Yields distributions over all tensors of weights: base-10 logarithms of ratios and norms."""
    for key in ("update_ratio", "gradient_norm"):
        values = [getattr(tensor, key) for tensor in snapshot.parameters.values()]
        logs = [math.log10(value) for value in values if _is_finite(value) and value > 0]
        if logs:
            yield f"weights/log10 {key}", logs


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
