"""What a list of runs shows of each, as text: the same in a table, a terminal and on a page."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ravine.core.errors import SettingError, unknown
from ravine.runs.run_list import RunEntry
from ravine.runs.score import ACCURACY
from ravine.workflows.screens import duration, share

_ORDERS: Mapping[str, Callable[[RunEntry], Any]] = {
    "newest": lambda one: (-one.changed, one.name),
    "accuracy": lambda one: (-(one.accuracy or 0.0), one.name),
    "name": lambda one: one.name,
    "model": lambda one: (str(one.settings.get("model")), one.name),
}
_STATES = ("running", "ended", "stopped")


def sorted_entries(
    entries: Sequence[RunEntry], *, by: str, state: str | None = None
) -> list[RunEntry]:
    """Returns the entries of a state, in an order.

    Raises:
        SettingError: there is no such order or state.
    """
    if by not in _ORDERS:
        raise unknown("order", by, sorted(_ORDERS))
    if state is not None and state not in _STATES:
        raise SettingError(f"state must be one of {', '.join(_STATES)}, got {state!r}")
    kept = [one for one in entries if state in (None, one.state.kind)]
    return sorted(kept, key=_ORDERS[by])


def shown_entry(one: RunEntry) -> dict[str, str]:
    """Returns the columns of a run as text, the most telling first."""
    state = one.state
    return {
        "run": one.name,
        "state": one.state_text,
        "accuracy": _accuracy(one),
        "findings": _findings(one),
        "left": "–" if state.left is None else duration(state.left),
        "epoch": f"{state.epoch:.4g}" if state.epoch else "–",
        "step": _step(one),
        "images/s": "–" if not state.images_per_second else f"{state.images_per_second:,.0f}",
        "kind": one.kind,
        "network": str(one.settings.get("model") or "–"),
        "optimizer": str(one.settings.get("optimizer") or "–"),
        "data": str(one.settings.get("data") or "–"),
    }


def _accuracy(one: RunEntry) -> str:
    if one.accuracy is None:
        return "–"
    what = "" if one.measure == ACCURACY else f" {one.measure}"
    return f"{share(one.accuracy, one.interval)}{what}"


def _step(one: RunEntry) -> str:
    total = f"/{one.state.total_steps:,}" if one.state.total_steps else ""
    return f"{one.state.step:,}{total}"


def _findings(one: RunEntry) -> str:
    """Returns the worst finding by its code, with the number of the others."""
    if not one.findings:
        return "–"
    severity, code = one.findings[0]
    more = f" +{len(one.findings) - 1}" if len(one.findings) > 1 else ""
    return f"{severity} {code}{more}"
