"""`ravine compare`."""

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ravine.cli.options import Json
from ravine.runs.rows import plain
from ravine.runs.score import MEAN_AP
from ravine.tournament.proportions import Difference
from ravine.workflows import compare as workflow


def compare(
    first: Annotated[Path, typer.Argument(help="A run.")],
    second: Annotated[Path, typer.Argument(help="The run that is compared with it.")],
    *,
    json: Json = False,
) -> None:
    """Say what differs between two runs: recipe, and result with an interval.

    Paired image by image where both were evaluated on the same images. The interval is about these
    images; what another seed gives, `ravine race` tells.

    Examples:

    - `ravine compare runs/photos-1 runs/photos-2`

    - `ravine compare runs/photos-1 runs/latest --json`
    """
    found = workflow.compare(first, second)
    if json:
        print(json_format.dumps(plain(found.row()), ensure_ascii=False))
        return
    for line in comparison_lines(found):
        print(line)


def comparison_lines(found: workflow.RunComparison) -> list[str]:
    """Returns the lines about two runs: settings, facts, the verdict."""
    rows = [("", found.first.name, found.second.name)]
    rows += [(name, _shown(a), _shown(b)) for name, (a, b) in found.settings.items()]
    settings = _columns(rows) if found.settings else ["the recipes do not differ"]
    (judged_by, scores), *others = found.facts.items()
    first, second = map(_score, scores, found.intervals)
    facts = [(judged_by, first, second), *((name, _shown(a), _shown(b)) for name, (a, b) in others)]
    lines = [*settings, "", *_columns(facts), "", found.verdict]
    if found.same_data is False:
        lines.append("trained on other images or another split of them")
    difference = found.difference
    if difference is not None:
        lines.append(_about(difference, found.measures[0]))
    return lines


def _about(difference: Difference, measure: str | None) -> str:
    if measure == MEAN_AP:
        return "not paired: the interval takes the images of both for independent"
    if not difference.paired:
        return "not paired: each was evaluated on images of its own, or kept no predictions"
    return (
        f"paired on {difference.paired:,} images: only the first is right on "
        f"{difference.only_second:,}, only the second on {difference.only_first:,}; McNemar's "
        f"p = {difference.p:.2g}"
    )


def _score(value: float | None, interval: Sequence[float] | None) -> str:
    """Returns an accuracy or mAP with its interval, in per cent."""
    if value is None:
        return "–"
    if interval is None:
        return f"{100 * value:.2f} %"
    return f"{100 * value:.2f} % ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(2)]
    return [f"{a:{widths[0]}}  {b:{widths[1]}}  {c}".rstrip() for a, b, c in rows]


def _shown(value: Any) -> str:
    if value is None or value == "" or value == () or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
