"""The figure by which a run is judged: accuracy, or mean average precision with several labels."""

from collections.abc import Mapping
from typing import Any

ACCURACY, MEAN_AP = "accuracy", "mAP"


def score_of(row: Mapping[str, Any]) -> float | None:
    """Returns the accuracy, or mAP, of a row of history.jsonl or of evaluation.json, in [0, 1].

    >>> score_of({"accuracy": 0.9}), score_of({"mean_ap": 0.7}), score_of({})
    (0.9, 0.7, None)
    """
    found = row.get("accuracy") if row.get("mean_ap") is None else row["mean_ap"]
    return None if found is None else float(found)


def measure_of(row: Mapping[str, Any]) -> str:
    """Returns what `score_of` gives: accuracy or mAP."""
    return MEAN_AP if "mean_ap" in row else ACCURACY
