"""A loss that rises beyond that of knowing nothing, or was low and leapt back to it.

Losses below 0 have no floor that a rise could be a multiple of: that of a policy comes back to 0 as
it learns. There a rise must be beyond their swing, and validation no better for it.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ravine.findings.finding import Finding
from ravine.findings.loss_curve import mean_of, noise_of, smoothed
from ravine.findings.run_trace import Trace
from ravine.findings.thresholds import AT_CHANCE, BLOWN, DIVERGED, LEARNT

_BEYOND = 10.0  # times the loss of knowing nothing: no run of any length comes back from it
_CLEARLY = 3.0  # standard errors
_FEW_VALIDATIONS, _NEAR_BEST = 3, 0.2  # validations; and share of the fall that is left
_SWINGS = 10.0  # deviations from step to step


def find_divergence(run: Trace) -> Iterator[Finding]:
    """Yields a loss that rises beyond that of knowing nothing, or leaps there."""
    if run.least < 0 and validates_better(run):
        return
    quarter = max(2, len(run.losses) // 4)
    start, _ = mean_of(run.losses[: max(2, len(run.losses) // 20)])
    end, error = mean_of(run.losses[-quarter:])
    least = np.fmin.accumulate(smoothed(run.losses))
    if end - 2 * error > DIVERGED * max(start, run.chance) + _swing(run):
        beyond = smoothed(run.losses) > 1.2 * np.maximum(least, 1e-9)
        yield _diverged(run, start, end, float(least[-1]), int(run.steps[beyond.argmax()]))
        return
    low = int(smoothed(run.losses).argmin())
    sank = least[-1] + max(_CLEARLY * noise_of(run.losses), _swing(run)) < run.chance
    is_low = least[-1] < LEARNT * run.chance and sank
    if is_low and _is_forgotten(run, low, end - 2 * error):
        peak = float(np.nanmax(run.losses[low:]))
        lost = _leapt(peak, float(least[-1]), end, int(run.steps[low]))
        yield replace(lost, severity="critical")
        return
    blown = run.losses > BLOWN * run.chance + _swing(run)
    if blown.any():
        leapt = _leapt(float(np.nanmax(run.losses)), start, end, int(run.steps[blown.argmax()]))
        knows_nothing = end > AT_CHANCE * run.chance
        yield replace(leapt, severity="critical") if knows_nothing else leapt


def find_at_once(run: Trace) -> Iterator[Finding]:
    """Yields the divergence of a run too short for a comparison of its parts."""
    trained = run.validations[:, 3]
    losses = np.concatenate([run.losses, trained[-1:]])
    known = losses[np.isfinite(losses)]
    if len(known) and known[-1] > _BEYOND * run.chance:
        least = min(float(known.min()), run.chance)
        yield _diverged(run, float(known[0]), float(known[-1]), least, int(_last_step(run)))


def _last_step(run: Trace) -> float:
    return float(max([*run.steps, *run.validations[:, 0]]))


def _is_forgotten(run: Trace, low: int, end: float) -> bool:
    """Returns whether the loss was low, leapt, and has stayed near that of knowing nothing."""
    behind = run.losses[low:]
    above = np.flatnonzero(behind > AT_CHANCE * run.chance)
    return end > AT_CHANCE * run.chance and len(above) > len(behind) // 2


def validates_better(run: Trace) -> bool:
    """Returns whether validation ends about where it is best, and far from where it began."""
    values = run.validations[:, 1]
    values = values[np.isfinite(values)]
    if len(values) < _FEW_VALIDATIONS:
        return False
    return bool(values[-1] - values.min() < _NEAR_BEST * (values[0] - values.min()))


def _swing(run: Trace) -> float:
    """Returns what losses that have no floor at 0 rise by without being lost.

    That of a policy whose actions are drawn swings around 0, and rises as it learns.
    """
    return _SWINGS * noise_of(run.losses[: len(run.losses) // 2]) if run.least < 0 else 0.0


def _diverged(run: Trace, start: float, end: float, least: float, step: int) -> Finding:
    return Finding(
        severity="critical",
        code="diverged",
        seen=f"the loss rises from {least:.3g} to {end:.3g}; a network that knows nothing has "
        f"{run.chance:.3g}",
        cause="the learning rate is too high for the curvature at the weights",
        cure="lower the learning rate (--lr) to a tenth, or limit the gradients (--clip 1)",
        step=step,
        evidence={"start": start, "least": least, "end": end},
        changes={"lr": "*0.1"},
    )


def _leapt(peak: float, start: float, end: float, step: int) -> Finding:
    return Finding(
        severity="warning",
        code="diverged",
        seen=f"the loss leaps from {start:.3g} to {peak:.3g}, and ends at {end:.3g}",
        cause="the learning rate is too high for the curvature at the weights",
        cure="lower the learning rate (--lr) to a tenth, limit the gradients (--clip 1), or begin "
        "with a warm-up",
        step=step,
        evidence={"start": start, "peak": peak, "end": end},
        changes={"lr": "*0.1"},
    )
