"""Findings on the time axis: the loss, and the first step of each finding."""

from collections.abc import Sequence
from typing import Any

from ravine.reports.curve_figures import figure_of, svg_of
from ravine.reports.figure_style import ACCENT, GREY, SECOND, literal

_COLOURS = {"critical": SECOND, "warning": ACCENT, "note": GREY}


def timeline(steps: Sequence[dict[str, Any]], findings: Sequence[dict[str, Any]]) -> str:
    """Returns the training loss against steps, with a mark at the first step of each finding.

    Args:
        steps: rows of history.jsonl about steps.
        findings: rows of findings.jsonl with a step.
    """
    ratios = (3, max(1.0, 0.55 * len(findings)))
    size = (4.6, 2.6 + 0.28 * len(findings))
    with figure_of(*size, nrows=2, sharex=True, height_ratios=ratios) as (figure, (top, low)):
        known = [(row["step"], row["loss"]) for row in steps if row.get("loss") is not None]
        top.plot([at for at, _ in known], [loss for _, loss in known], color=GREY, linewidth=1.1,
                 label="training")  # fmt: skip
        if known and max(loss for _, loss in known) > 20 * max(1e-9, min(v for _, v in known)):
            top.set_yscale("log")
        top.set(ylabel="loss")
        end = max(float(row["step"]) for row in steps)
        for index, row in enumerate(findings):
            colour = _COLOURS.get(str(row.get("severity")), GREY)
            at = float(row["step"])
            top.axvline(at, color=colour, linewidth=0.9, linestyle="--")
            low.plot([at, max(end, at)], [index, index], color=colour, linewidth=4, alpha=0.5,
                     solid_capstyle="butt")  # fmt: skip
            low.plot([at], [index], color=colour, marker="o", markersize=4)
        names = [literal(str(row.get("code") or row.get("severity"))) for row in findings]
        low.set_yticks(range(len(findings)), names)
        low.set(xlabel="step", ylim=(len(findings) - 0.4, -0.6))
        low.grid(visible=False, axis="y")
    return svg_of(figure, "loss against steps, with where each finding began")
