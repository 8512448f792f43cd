"""Detectors over the snapshots of a network: findings from layers.jsonl or a monitor."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ravine.core.snapshot import LayerStatistics, NotFinite, Snapshot
from ravine.findings.finding import Finding
from ravine.findings.thresholds import DEAD, SATURATED, SNAPSHOTS

Snapshots = Sequence[Snapshot[float]]
_UNCLEARED = 0.8  # share of the snapshots; below it, gradients are accumulated on purpose
_FEWEST = 4  # snapshots


def find_in_snapshots(
    snapshots: Snapshots, *, not_finite: NotFinite | None = None
) -> Iterator[Finding]:
    """Yields the findings of snapshots.

    Args:
        snapshots: oldest first.
        not_finite: the first value that was not finite, where its step is known.
    """
    if not_finite is not None:
        yield _not_finite(not_finite)
    elif (found := _first_not_finite(snapshots)) is not None:
        yield _not_finite(found)
    yield from _uncleared(snapshots)
    yield from _units(snapshots, _DIED)
    yield from _units(snapshots, _SATURATED)


def _not_finite(found: NotFinite) -> Finding:
    where = f" in layer {found.layer}" if found.layer else ""
    return Finding(
        severity="warning",
        code="not-finite",
        seen=f"the first value that is not finite came at step {found.step} in the "
        f"{found.direction} pass{where}",
        cause="numbers overflow: the learning rate is too high, or a division or logarithm meets 0",
        cure="lower the learning rate (--lr), limit the gradients (--clip 1), or begin with a "
        "warm-up",
        layer=found.layer,
        step=found.step,
        changes={"lr": "*0.1"},
    )


def _first_not_finite(snapshots: Snapshots) -> NotFinite | None:
    for snapshot in snapshots:
        for name, layer in snapshot.layers.items():
            if layer.var is not None and not math.isfinite(layer.var):
                return NotFinite(step=snapshot.step, layer=name, direction="forward")
        for name, layer in reversed(list(snapshot.layers.items())):
            if layer.gradient_var is not None and not math.isfinite(layer.gradient_var):
                return NotFinite(step=snapshot.step, layer=name, direction="backward")
    return None


def _uncleared(snapshots: Snapshots) -> Iterator[Finding]:
    later = [one for one in snapshots if one.step > 1]
    left = [one for one in later if (one.uncleared or 0.0) > 0]
    if len(later) >= _FEWEST and len(left) >= _UNCLEARED * len(later):
        yield Finding(
            severity="critical",
            code="gradients-not-cleared",
            seen=f"in {len(left)} of {len(later)} snapshots the gradients of the step before were "
            "still there when the next backward pass began",
            cause="the gradients of all earlier steps add up: zero_grad is not called",
            cure="call optimizer.zero_grad() in every step, before loss.backward()",
            step=left[0].step,
            evidence={"looks": len(later), "left": len(left)},
        )


class _UnitFault(NamedTuple):
    """What units of a layer may come to in training."""

    code: str
    share: Callable[[LayerStatistics[float]], float | None]
    limit: float
    seen: str
    cause: str


_DIED = _UnitFault(
    code="units-died",
    share=lambda layer: layer.dead,
    limit=DEAD,
    seen=f"were 0 on all images of {SNAPSHOTS} snapshots in a row",
    cause="a step was so large that no input activates them any more",
)
_SATURATED = _UnitFault(
    code="units-saturated",
    share=lambda layer: layer.saturated,
    limit=SATURATED,
    seen="are at the ends of their range",
    cause="their inputs have grown so large that hardly any gradient passes",
)


def _units(snapshots: Snapshots, fault: _UnitFault) -> Iterator[Finding]:
    """Yields the first layer of whose units more than the limit have a fault, and keep it."""
    if len(snapshots) < max(_FEWEST, SNAPSHOTS):
        return
    last = snapshots[-1].layers
    name = next((n for n, layer in last.items() if (fault.share(layer) or 0.0) > fault.limit), None)
    if name is None:
        return
    shares = [_share(snapshot, name, fault) for snapshot in snapshots]
    later = shares[SNAPSHOTS - 1 :]  # before, a unit may only have been inactive
    stays = next((k for k in range(len(later)) if min(later[k:]) > fault.limit), None)
    if stays is None or len(later) - stays < _FEWEST:
        return
    yield Finding(
        severity="warning",
        code=fault.code,
        seen=f"{shares[-1]:.0%} of the units of {name} {fault.seen}",
        cause=fault.cause,
        cure="lower the learning rate (--lr), begin with a warm-up, or normalise (--norm batch)",
        layer=name,
        step=snapshots[stays + SNAPSHOTS - 1].step,
        evidence={"share": shares[-1]},
        changes={"lr": "*0.1"},
    )


def _share(snapshot: Snapshot[float], name: str, fault: _UnitFault) -> float:
    layer = snapshot.layers.get(name)
    return 0.0 if layer is None else float(fault.share(layer) or 0.0)
