"""The verdict on a run that is read first: what broke it, or what it can do; loads no torch.

The command in a verdict applies the cure of the finding where that is a setting.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from ravine.core.errors import RunError
from ravine.core.lazy import lazy_module
from ravine.runs.folder import RunFolder

if TYPE_CHECKING:
    from ravine.runs import confusion
else:
    confusion = lazy_module("ravine.runs.confusion")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What holds of a run.

    Attributes:
        kind: broken: a critical finding stands; chance: the result is not better than chance;
            doubtful: there is a warning; good: none of these.
        headline: one sentence; empty for a good run.
        cause: why; empty where it is not known.
        cure: what to change; empty where nothing is.
        command: what to type next.
    """

    kind: Literal["broken", "chance", "doubtful", "good"]
    headline: str = ""
    cause: str = ""
    cure: str = ""
    command: str


def chance_of(evaluation: Mapping[str, Any]) -> float | None:
    """Returns the accuracy of naming the most frequent class always, in [0, 1].

    Of several labels it is the mean average precision of answers drawn at random: the mean share of
    the labels.

    Args:
        evaluation: as in evaluation.json; None without its confusion matrix, or where that
            cannot be read.

    >>> chance_of({"confusion": [[5, 1], [2, 2]]})
    0.6
    """
    if "mean_ap" in evaluation:
        return float(evaluation.get("chance", 0.0))
    try:
        counts = confusion.dense_confusion(evaluation.get("confusion")).sum(1)
    except RunError:
        return None
    return float(counts.max() / counts.sum()) if counts.sum() else None


def diagnosing(run: Path) -> str:
    """Returns the command that diagnoses a run."""
    return f"ravine diagnose {shlex.quote(str(run))}"


def judge(
    run: Path,
    *,
    evaluation: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    recipe: Mapping[str, Any],
) -> Verdict:
    """Returns the verdict on a run.

    Args:
        run: its folder, for the command.
        evaluation: as in evaluation.json; empty where the run has none.
        findings: the rows of findings.jsonl.
        recipe: its settings.
    """
    by_severity = {
        severity: next((row for row in findings if row.get("severity") == severity), None)
        for severity in ("critical", "warning")
    }
    if (row := by_severity["critical"]) is not None:
        return _of_finding(row, "broken", f"Broken: {row.get('text')}", run, recipe)
    chance = chance_of(evaluation)
    interval = evaluation.get("interval", evaluation.get("mean_ap_interval"))
    if chance is not None and interval and interval[0] <= chance:
        headline = f"No better than chance, which is {100 * chance:.3g} %"
        cause = next((row for row in findings if _explains_chance(row)), None)
        if cause is not None:
            return _of_finding(cause, "chance", headline, run, recipe)
        return Verdict(kind="chance", headline=headline, command=diagnosing(run))
    if (row := by_severity["warning"]) is not None:
        return _of_finding(row, "doubtful", str(row.get("text")), run, recipe)
    return Verdict(kind="good", command=_next(run, has_result=bool(evaluation)))


def _explains_chance(row: Mapping[str, Any]) -> bool:
    """Returns whether a finding says why nothing was learnt, not only that it was not."""
    is_symptom = row.get("code") == "below-baseline"
    return row.get("severity") == "warning" and bool(row.get("changes")) and not is_symptom


def _next(run: Path, *, has_result: bool) -> str:
    """Returns what to type where nothing is wrong."""
    folder, name = RunFolder(run), shlex.quote(str(run))
    if has_result or folder.model.is_file():
        return f"ravine predict {name} IMAGES"
    return "ravine watch" if folder.is_locked else f"ravine resume {name}"


def _of_finding(
    row: Mapping[str, Any],
    kind: Literal["broken", "chance", "doubtful"],
    headline: str,
    run: Path,
    recipe: Mapping[str, Any],
) -> Verdict:
    command = _applying(row.get("changes") or {}, run, recipe)
    return Verdict(
        kind=kind,
        headline=headline,
        cause=str(row.get("cause") or ""),
        cure=str(row.get("cure") or ""),
        command=command or diagnosing(run),
    )


def _applying(changes: Mapping[str, Any], run: Path, recipe: Mapping[str, Any]) -> str | None:
    """Returns the command that trains with the changes; None where they are no settings."""
    words = []
    for name, value in changes.items():
        if isinstance(value, str) and value.startswith("*"):
            before = recipe.get(name)
            if not isinstance(before, int | float):
                return None
            value = f"{before * float(value[1:]):.3g}"
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
        else:
            text = f"{value:.3g}" if isinstance(value, float) else str(value)
            if name == "budget" and not isinstance(value, str):
                text = f"{value:g}s"
            words += [f"--{name.replace('_', '-')}", text]
    if not words:
        return None
    return shlex.join(["ravine", "train", "--recipe", str(run / "recipe.toml"), *words])
