"""Schedules: factors of a hyperparameter as closed-form functions of progress p in [0, 1]."""

import math
from collections.abc import Callable, Mapping

from ravine.core.validation import check_range

Schedule = Callable[[float], float]

# WideResNet (Zagoruyko, Komodakis 2016): times 0.2 after 60, 120 and 160 of 200 epochs.
_STEP_AT = (0.3, 0.6, 0.8)
_STEP_FACTOR = 0.2
_ONE_CYCLE_START = 1 / 25  # Smith, Topin 2018: share of the peak at the start
ONE_CYCLE_RISE = 0.2


def constant(progress: float) -> float:  # noqa: ARG001
    """Returns 1."""
    return 1.0


def step(progress: float) -> float:
    """Returns 0.2 to the power of the number of drops so far; drops are at 30, 60 and 80 %.

    >>> round(step(0.65), 3)
    0.04
    """
    return _STEP_FACTOR ** sum(progress >= at for at in _STEP_AT)


def cosine(progress: float) -> float:
    """Returns (1 + cos πp)/2 (Loshchilov and Hutter 2017, without restarts)."""
    return (1 + math.cos(math.pi * progress)) / 2


def linear(progress: float) -> float:
    """Returns 1 − p."""
    return 1 - progress


def one_cycle(progress: float, *, rise: float = ONE_CYCLE_RISE) -> float:
    """Returns a linear rise from 1/25 to 1 at `rise`, then a linear fall to 0.

    Smith, Topin, "Super-convergence", 2018.
    """
    if progress < rise:
        return _ONE_CYCLE_START + (1 - _ONE_CYCLE_START) * progress / rise
    return (1 - progress) / (1 - rise)


def mirrored_cycle(progress: float, *, rise: float = ONE_CYCLE_RISE) -> float:
    """Returns 1, falling to 0 at `rise` and rising to 1 again: momentum while `one_cycle` runs.

    With `rise` 0 it begins at 0. Smith, "A disciplined approach", 2018.

    >>> mirrored_cycle(0.0), mirrored_cycle(0.2), mirrored_cycle(1.0)
    (1.0, 0.0, 1.0)
    """
    if progress < rise:
        return 1 - progress / rise
    return (progress - rise) / (1 - rise)


def with_warmup(inner: Schedule, *, share: float) -> Schedule:
    """Returns a linear rise to `inner`'s start over the first `share`, then `inner` over the rest.

    Goyal et al. 2017.

    >>> with_warmup(linear, share=0.5)(0.25), with_warmup(linear, share=0.5)(0.75)
    (0.5, 0.5)

    Raises:
        SettingError: `share` is not in [0, 1).
    """
    check_range("share", share, low=0, high=1, high_open=True)
    if share == 0:
        return inner

    def factor(progress: float) -> float:
        if progress < share:
            return inner(0.0) * progress / share
        return inner((progress - share) / (1 - share))

    return factor


SCHEDULES: Mapping[str, Schedule] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "one-cycle": one_cycle,
    "linear": linear,
}
