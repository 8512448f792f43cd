"""`ravine compare`: what differs between two runs in their recipes and in their results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from ravine.core.errors import RunError
from ravine.runs.confusion import dense_confusion
from ravine.runs.folder import RunFolder, open_run_folder
from ravine.runs.history_file import read_environment
from ravine.runs.predictions_file import outcomes_on_the_same, read_predictions
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_json
from ravine.runs.run_list import RunEntry, read_entry
from ravine.runs.score import ACCURACY, MEAN_AP, measure_of, score_of
from ravine.tournament.proportions import (
    Difference,
    difference_of,
    paired_difference,
    unpaired_difference,
)
from ravine.workflows.recipe import Recipe


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Two runs side by side.

    Attributes:
        first: a run.
        second: the other.
        settings: by name, what each was given where they differ; None for a setting that one of
            them does not have.
        facts: of the results: loss, seconds, images per second, parameters; None where unknown.
        intervals: 95 %, of what each is judged by; None without a result.
        same_data: whether both were trained on the same images; None where that is not known.
        measures: what each is judged by, accuracy or mAP; None without a result.
        difference: of these, second − first; None where one has no result, or they are of two
            kinds.
    """

    first: RunEntry
    second: RunEntry
    settings: Mapping[str, tuple[Any, Any]]
    facts: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    same_data: bool | None = None
    measures: tuple[str | None, str | None] = (None, None)
    intervals: tuple[Sequence[float] | None, Sequence[float] | None] = (None, None)
    difference: Difference | None = None

    @property
    def verdict(self) -> str:
        """One sentence: which is better, or that these images cannot tell."""
        if self.difference is None and None not in self.measures:
            return f"No difference: {' and '.join(map(str, self.measures))} are no like figures"
        if self.difference is None:
            return "No difference: one of them has no result yet"
        low, high = (100 * bound for bound in self.difference.interval)
        points = 100 * self.difference.value
        span = f"{points:+.2f} points (95 %: {low:+.2f} to {high:+.2f})"
        if not self.difference.is_clear:
            return f"These images do not tell them apart: {self.second.name} {span}"
        which = "better" if points > 0 else "worse"
        return f"{self.second.name} is {which} on these images: {span}"

    def row(self) -> dict[str, Any]:
        """Returns the comparison as `--json` prints it."""
        found = self.difference
        return {
            "kind": "comparison",
            "first": self.first.row(),
            "second": self.second.row(),
            "settings": {name: list(pair) for name, pair in self.settings.items()},
            "facts": {name: list(pair) for name, pair in self.facts.items()},
            "same_data": self.same_data,
            "measures": list(self.measures),
            "difference": None if found is None else found.value,
            "interval": None if found is None else list(found.interval),
            "paired": None if found is None else found.paired,
            "only_first": None if found is None else found.only_second,  # it is second − first
            "only_second": None if found is None else found.only_first,
            "p": None if found is None else found.p,
            "verdict": self.verdict,
        }


def compare(first: str | Path, second: str | Path) -> RunComparison:
    """Compares two runs by their files; no network is read.

    The results are paired where both runs kept what they said of images that both were asked.

    Raises:
        RunError: one of them is no run, or a file cannot be read.
    """
    one, other = (open_run_folder(Path(path), folded=True) for path in (first, second))
    entries = [read_entry(folder.path, folder.path) for folder in (one, other)]
    measures = [_measure(folder) for folder in (one, other)]
    kinds = sorted({measure for measure in measures if measure})
    judged_by = " or ".join(kinds) or ACCURACY
    facts = [_facts(folder, judged_by) for folder in (one, other)]
    prints = [row.pop("data_fingerprint") for row in facts]
    return RunComparison(
        first=entries[0],
        second=entries[1],
        settings=_differing(_settings(one), _settings(other)),
        facts={name: (facts[0][name], facts[1][name]) for name in facts[0]},
        same_data=None if None in prints else prints[0] == prints[1],
        measures=(measures[0], measures[1]),
        intervals=(_interval(one), _interval(other)),
        difference=_difference(one, other),
    )


def _settings(folder: RunFolder) -> dict[str, Any]:
    """Returns the settings of a run; what its recipe leaves out has its default."""
    defaults = {name: f.get_default() for name, f in Recipe.model_fields.items()}
    return {**defaults, **read_recipe(folder.recipe)[0]}


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*first, *(name for name in second if name not in first)]
    pairs = {name: (first.get(name), second.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if _plain(pair[0]) != _plain(pair[1])}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _measure(folder: RunFolder) -> str | None:
    result = _result(folder)
    return measure_of(result) if result else None


def _interval(folder: RunFolder) -> Sequence[float] | None:
    result = _result(folder)
    return result.get("interval") or result.get("mean_ap_interval")


def _facts(folder: RunFolder, judged_by: str) -> dict[str, Any]:
    result = _result(folder)
    try:
        environment = read_environment(folder.environment)
    except RunError:
        environment = {}
    return {
        judged_by: score_of(result),
        "loss": result.get("loss"),
        "seconds of training": environment.get("seconds", {}).get("training"),
        "images per second": environment.get("images_per_second"),
        "parameters": environment.get("model", {}).get("parameters"),
        "data_fingerprint": environment.get("data_fingerprint"),
    }


def _result(folder: RunFolder) -> dict[str, Any]:
    return read_json(folder.evaluation) if folder.evaluation.is_file() else {}


def _difference(first: RunFolder, second: RunFolder) -> Difference | None:
    kept = [read_predictions(folder.predictions) for folder in (first, second)]
    if kept[0] is not None and kept[1] is not None:
        one, other = outcomes_on_the_same(kept[0], kept[1])
        if len(one):
            return paired_difference(int((other & ~one).sum()), int((one & ~other).sum()), len(one))
    results = [_result(folder) for folder in (first, second)]
    if not all(results) or measure_of(results[0]) != measure_of(results[1]):
        return None
    if measure_of(results[0]) == MEAN_AP:
        (low, high), (low_other, high_other) = (row["mean_ap_interval"] for row in results)
        values = (results[1]["mean_ap"], results[0]["mean_ap"])
        return difference_of(values, ((low_other, high_other), (low, high)))
    hits = [_hits(result) for result in results]
    return unpaired_difference((hits[1][0], hits[0][0]), (hits[1][1], hits[0][1]))


def _hits(result: Mapping[str, Any]) -> tuple[int, int]:
    """Returns how many images were classified correctly, and of how many."""
    table = dense_confusion(result.get("confusion"))
    return int(np.trace(table)), int(table.sum())
