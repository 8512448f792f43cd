"""What looks inside a network say: findings from layers.jsonl or a monitor."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ravine.findings.finding import Finding
from ravine.findings.thresholds import DEAD, LOOKS, SATURATED

Look = Mapping[str, Any]
_UNCLEARED = 0.8  # of the looks, from where on gradients were left on purpose by nobody
_FEWEST = 4  # looks


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFinite:
    """The first value that was not finite.

    Attributes:
        step: counted from 1.
        layer: the first layer on the way forward, or the last on the way back; None where only
            the loss or the whole gradient is known.
        direction: forward or backward.
    """

    step: int
    layer: str | None
    direction: Literal["forward", "backward"]


def find_in_looks(
    looks: Sequence[Look], *, not_finite: NotFinite | None = None
) -> Iterator[Finding]:
    """Yields what the looks show.

    Args:
        looks: rows of layers.jsonl, oldest first.
        not_finite: the first value that was not finite, where it is known to the step.
    """
    if not_finite is not None:
        yield _not_finite(not_finite)
    elif (found := _first_not_finite(looks)) is not None:
        yield found
    yield from _uncleared(looks)
    yield from _units(looks, "dead", DEAD)
    yield from _units(looks, "saturated", SATURATED)


def _not_finite(found: NotFinite) -> Finding:
    where = f" in layer {found.layer}" if found.layer else ""
    return _broken(found.step, found.layer, f"{found.direction} pass{where}")


def _first_not_finite(looks: Sequence[Look]) -> Finding | None:
    for look in looks:
        layers = look.get("layers", {})
        for name, row in layers.items():
            if not math.isfinite(row.get("var", 0.0)):
                return _broken(look["step"], name, f"forward pass in layer {name}")
        for name, row in reversed(layers.items()):
            if not math.isfinite(row.get("gradient_var", 0.0)):
                return _broken(look["step"], name, f"backward pass in layer {name}")
    return None


def _broken(step: int, layer: str | None, where: str) -> Finding:
    return Finding(
        severity="warning",
        code="not-finite",
        seen=f"the first value that is not finite came at step {step} on the {where}",
        cause="numbers overflow: the rate is too high, or a division or logarithm meets 0",
        cure="lower the rate (--lr), limit the gradients (--clip 1), or begin with a warm-up",
        layer=layer,
        step=step,
        changes={"lr": "*0.1"},
    )


def _uncleared(looks: Sequence[Look]) -> Iterator[Finding]:
    told = [look for look in looks if look["step"] > 1]
    left = [look for look in told if look.get("uncleared", 0.0) > 0]
    if len(told) >= _FEWEST and len(left) >= _UNCLEARED * len(told):
        yield Finding(
            severity="critical",
            code="gradients-not-cleared",
            seen=f"at {len(left)} of {len(told)} looks the gradients of the step before were "
            "still there when the next backward pass began",
            cause="the gradients of all earlier steps add up: zero_grad is not called",
            cure="call optimizer.zero_grad() in every step, before loss.backward()",
            step=int(left[0]["step"]),
            evidence={"looks": len(told), "left": len(left)},
        )


def _units(looks: Sequence[Look], what: str, limit: float) -> Iterator[Finding]:
    """Yields the first layer whose units died, or went to the ends of their range, and stayed."""
    if len(looks) < max(_FEWEST, LOOKS):
        return
    last = looks[-1].get("layers", {})
    name = next((n for n, row in last.items() if row.get(what, 0.0) > limit), None)
    if name is None:
        return
    shares = [look.get("layers", {}).get(name, {}).get(what, 0.0) for look in looks]
    later = shares[LOOKS - 1 :]  # before, a unit may only have rested
    stays = next((k for k, s in enumerate(later) if all(x > limit for x in later[k:])), None)
    if stays is None or len(later) - stays < _FEWEST:
        return
    share, step = float(shares[-1]), int(looks[stays + LOOKS - 1]["step"])
    dead = what == "dead"
    yield Finding(
        severity="warning",
        code="units-died" if dead else "units-saturated",
        seen=f"{share:.0%} of the units of {name} "
        + (f"were 0 on all images of {LOOKS} looks in a row" if dead else "are at their ends"),
        cause="a step was so large that no input reaches them any more"
        if dead
        else "their inputs have grown so large that hardly any gradient passes",
        cure="lower the rate (--lr), begin with a warm-up, or normalise (--norm batch)",
        layer=name,
        step=step,
        evidence={"share": share},
        changes={"lr": "*0.1"},
    )
