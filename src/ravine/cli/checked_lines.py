"""What a diagnosis checked, what it could not, and how long it took."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ravine.core.lazy import lazy_module
from ravine.findings.finding import Findings

if TYPE_CHECKING:
    from ravine.checks import check_table
else:
    check_table = lazy_module("ravine.checks.check_table")

_ROWS = "rows of the run"
_STAGES = {
    "before": "data and wiring",
    "labels": "labels",
    "first batch": "loss and signals",
    "evaluation": "evaluation mode",
    "training": "learning",
    "labels probe": "whether labels belong to images (--labels-probe)",
    "state": "a step of your own loop (ravine.check(step=...) in it)",
}


def checked_lines(
    findings: Findings,
    seconds: float,
    *,
    inside: bool,
    labels_probe: bool,
    verbose: bool = False,
    has_rows: bool = True,
    learn: bool = True,
) -> list[str]:
    """Returns lines about the checks of a diagnosis; with `verbose` one for each kind of finding.

    Args:
        findings: of the run.
        seconds: that it took.
        inside: whether the network was checked, and not the rows only.
        labels_probe: whether the labels were asked.
        verbose: a line for each kind.
        has_rows: whether there is a run; before it no rows are asked for.
        learn: whether the short trainings ran.
    """
    groups = _groups()
    if not has_rows:
        del groups[_ROWS]
    missing = ["state"] if inside else [name for name in groups if name in _STAGES]
    missing += ["training"] if inside and not learn else []
    missing += ["labels probe"] if inside and not labels_probe else []
    done = {name: codes for name, codes in groups.items() if name not in missing}
    counts = [f"{_STAGES.get(name, name)} ({len(codes)})" for name, codes in done.items()]
    total = sum(map(len, done.values()))
    lines = [f"checked {total} kinds of finding in {seconds:.0f} s: {', '.join(counts)}"]
    lines.append(f"not checked: {'; '.join(_STAGES[name] for name in missing)}")
    found = {code for one in findings for code in (one.code, *one.symptoms)}
    if verbose:
        lines += [
            f"  {_STAGES.get(name, name)}: {code} {'found' if code in found else '–'}"
            for name, codes in done.items()
            for code in codes
        ]
    return lines


def _groups() -> dict[str, Sequence[str]]:
    """Returns the codes by what is looked at: the rows of the run, then the stages of checks."""
    groups: dict[str, list[str]] = {_ROWS: []}
    for row in check_table.CHECKS:
        name = getattr(row, "stage", _ROWS)
        groups.setdefault(name, []).append(row.code)
    return {name: list(dict.fromkeys(codes)) for name, codes in groups.items()}
