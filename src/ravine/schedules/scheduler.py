"""Any hyperparameter of any optimizer as a function of the step's number.

A curve is a factor of a group's value at the time the scheduler is made, so that groups keep the
ratios of their learning rates; `Absolute` is a curve of the values themselves. The scheduler has
no state: step k sets the same values whatever was set before, and nothing has to be saved.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.optim import Optimizer

from ravine.core.errors import SettingError, unknown
from ravine.core.validation import check_range
from ravine.schedules.curves import Schedule

_BETAS = {"momentum": 0, "alpha": 1}  # their indices in a group's betas
_NEVER_NEGATIVE = {"lr", "weight_decay", *_BETAS}


@final
@dataclass(frozen=True, slots=True)
class Absolute:
    """A curve of values, which replace those of the groups."""

    value_at: Callable[[float], float]
    """The value as a function of progress in [0, 1]."""


Curve = Schedule | Absolute


def between(low: float, high: float, curve: Schedule) -> Absolute:
    """Returns the values that go from `low` to `high` as `curve` goes from 0 to 1.

    >>> between(0.85, 0.95, lambda p: 1 - p).value_at(1.0)
    0.85

    Raises:
        SettingError: an end is not finite.
    """
    for name, value in (("low", low), ("high", high)):
        check_range(name, value, low_open=True, high_open=True)

    def value_at(progress: float) -> float:
        factor = curve(progress)
        return low * (1 - factor) + high * factor

    return Absolute(value_at)


@final
class Scheduler:
    """Sets hyperparameters of an optimizer as functions of the step.

        scheduler = Scheduler(optimizer, steps=1000, lr=cosine, momentum=between(…))
        for step in range(1000):
            scheduler.set(step)
            …
            optimizer.step()

    `momentum` and `alpha` also mean `betas[0]` and `betas[1]` where a group has betas. A group
    whose weight decay is 0 keeps 0 under absolute curves too. A 0-dim tensor is filled in
    place, as compiled and captured steps need. To resume, make the scheduler from the optimizer
    as it is built, before its saved state is loaded into it: that state holds the values of the
    step at which it was saved.

    Args:
        optimizer: any; factors multiply the present values of its groups.
        steps: of the whole training; later steps have the values of its end.
        **curves: hyperparameter to factor, or to `Absolute`.

    Raises:
        SettingError: `steps` is less than 1, or no group has a number of that name.
    """

    def __init__(self, optimizer: Optimizer, *, steps: int, **curves: Curve) -> None:
        check_range("steps", steps, low=1, high_open=True)
        known = _numbers(optimizer.param_groups)
        for name in curves:
            if name not in known:
                raise unknown("hyperparameter", name, known)
        self._optimizer = optimizer
        self._steps = steps
        self._curves = dict(curves)
        self._base = [
            {name: float(_read(group, name)) for name in curves if _has(group, name)}
            for group in optimizer.param_groups
        ]
        self._refuse_idle_decay()

    def set(self, step: int) -> None:
        """Sets the values for `step`, counted from 0.

        Raises:
            SettingError: as `set_at`, or `step` is negative.
        """
        check_range("step", step, low=0, high_open=True)
        self.set_at(step / self._steps)

    def set_at(self, progress: float) -> None:
        """Sets the values at this progress; beyond 1, those at 1.

        Raises:
            SettingError: a curve's value is out of the hyperparameter's range, or groups were
                added to the optimizer.
        """
        groups = self._optimizer.param_groups  # loading a state makes new ones
        if len(groups) != len(self._base):
            raise SettingError(
                f"the optimizer has {len(groups)} groups and had {len(self._base)} when the "
                "scheduler was made; make it anew after adding groups"
            )
        for group, values in zip(groups, self.values_at(progress), strict=True):
            for name, value in values.items():
                _write(group, name, value)

    def values_at(self, progress: float) -> list[dict[str, float]]:
        """Returns the values that `set_at` sets, group by group, and sets nothing.

        Raises:
            SettingError: a curve's value is out of the hyperparameter's range.
        """
        progress = min(1.0, max(0.0, progress))
        found: dict[str, float] = {}
        for name, curve in self._curves.items():
            found[name] = (curve.value_at if isinstance(curve, Absolute) else curve)(progress)
        values = [
            {name: self._value(name, base, found[name]) for name, base in bases.items()}
            for bases in self._base
        ]
        for name, value in ((n, v) for group in values for n, v in group.items()):
            low = 0.0 if name in _NEVER_NEGATIVE else -math.inf
            high = 1.0 if name in _BETAS else math.inf
            check_range(name, value, low=low, high=high, low_open=low < 0, high_open=True)
        return values

    def _value(self, name: str, base: float, found: float) -> float:
        if not isinstance(self._curves[name], Absolute):
            return base * found
        return 0.0 if name == "weight_decay" and base == 0 else found

    def _refuse_idle_decay(self) -> None:
        decays = [base["weight_decay"] for base in self._base if "weight_decay" in base]
        if isinstance(self._curves.get("weight_decay"), Absolute) and not any(decays):
            raise SettingError(
                "weight_decay is 0 in every group, so that no curve of it acts; "
                "give the groups that decay a weight_decay"
            )


def _numbers(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names of the hyperparameters that can be scheduled, in the groups' order."""
    names = [name for group in groups for name in (*group, *_BETAS)]
    return [name for name in dict.fromkeys(names) if any(_has(group, name) for group in groups)]


def _has(group: Mapping[str, Any], name: str) -> bool:
    return _is_number(group.get(name)) or (name in _BETAS and "betas" in group)


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dim() == 0 and value.is_floating_point()
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _read(group: Mapping[str, Any], name: str) -> float | Tensor:
    return group[name] if _is_number(group.get(name)) else group["betas"][_BETAS[name]]


def _write(group: dict[str, Any], name: str, value: float) -> None:
    held = _read(group, name)
    if isinstance(held, Tensor):
        with torch.no_grad():
            held.fill_(value)
    elif _is_number(group.get(name)):
        group[name] = value
    else:
        betas = list(group["betas"])
        betas[_BETAS[name]] = value
        group["betas"] = tuple(betas)
