"""Parameter groups: weight decay without biases and norms, learning rates by layer and by name.

A layer is a module that holds a weight (a parameter with more than one dimension) itself. Its
bias belongs to it, and so do the norms and other modules without a weight that are registered
after it; a module before the first weight belongs to the first layer. The order is that in
which the model registers its modules, shortcuts included.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from ravine.core.errors import SettingError, unknown
from ravine.core.renamed import reads_old_names
from ravine.core.validation import check_range


@reads_old_names
def parameter_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    lr: float | None = None,
    layer_decay: float | None = None,
    lr_multipliers: Mapping[str, float] | None = None,
    bias_lr_multiplier: float = 1.0,
    named: bool = False,
) -> list[dict[str, Any]]:
    """Returns groups of all parameters that require a gradient, each parameter once.

    Parameters with less than two dimensions are biases and the scales and shifts of
    normalisation layers; they have no decay. Tied parameters belong to their first layer.
    Without `layer_decay` and `lr_multipliers` there are two groups: weights, then the parameters
    without decay; with them, two for each learning rate.

    Args:
        model: the network.
        weight_decay: λ of the weights.
        lr: learning rate of the last layer, factor of the next two; None: the optimizer's own.
        layer_decay: d in (0, 1]; the layer that is k layers before the last has lr·dᵏ.
            Clark et al. 2020 and Bao et al. 2022 (BEiT) count blocks; here each weight counts, so
            that d is nearer to 1: their 0.75 a block of four layers is 0.93.
        lr_multipliers: factor of the learning rate by a pattern of names such as `stem.*`, where
            * is any text. The first pattern that fits holds, and multiplies `layer_decay`'s factor.
        bias_lr_multiplier: factor of the learning rate of the parameters without decay.
        named: add the names as torch's `param_names`, for the optimizer's state_dict.

    Raises:
        SettingError: a value is out of its range, a pattern fits no parameter, or lr is missing.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    >>> groups = parameter_groups(
    ...     model, weight_decay=0.1, lr=1.0, layer_decay=0.5, lr_multipliers={"0.*": 0.1}
    ... )
    >>> [(group["lr"], group["weight_decay"]) for group in groups]
    [(0.025, 0.1), (0.025, 0.0), (0.5, 0.1), (0.5, 0.0), (1.0, 0.1), (1.0, 0.0)]
    """
    _check(lr, layer_decay, lr_multipliers or {}, bias_lr_multiplier)
    gathered = _by_multiplier(_named_parameters(model), layer_decay or 1.0, lr_multipliers or {})
    return [
        {
            "params": [one.parameter for one in members],
            "weight_decay": weight_decay if decays else 0.0,
            **({} if lr is None else {"lr": lr * factor * (1.0 if decays else bias_lr_multiplier)}),
            **({"param_names": [one.names[0] for one in members]} if named else {}),
        }
        for (factor, decays), members in gathered.items()
        if members
    ]


@dataclass(frozen=True, slots=True)
class _NamedParameter:
    """A parameter, its names (tied ones have several) and the index of its layer."""

    parameter: Tensor
    names: list[str]
    layer: int


def _named_parameters(model: nn.Module) -> list[_NamedParameter]:
    """Returns all parameters in the order of the model, each once; layers count from 0."""
    found: dict[Tensor, _NamedParameter] = {}
    layer = -1
    for module_name, module in model.named_modules():
        own = list(module.named_parameters(module_name, recurse=False))
        if any(parameter.dim() > 1 for _, parameter in own):
            layer += 1
        for _, parameter in own:
            found.setdefault(parameter, _NamedParameter(parameter, [], max(0, layer)))
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found[parameter].names.append(name)
    return list(found.values())


def _by_multiplier(
    parameters: list[_NamedParameter], layer_decay: float, lr_multipliers: Mapping[str, float]
) -> dict[tuple[float, bool], list[_NamedParameter]]:
    """Returns the parameters by the factor of their learning rate and by whether they decay."""
    depth = max((one.layer for one in parameters), default=0)
    by_pattern = _multipliers(parameters, lr_multipliers)
    gathered: dict[tuple[float, bool], list[_NamedParameter]] = {}
    for one, factor in zip(parameters, by_pattern, strict=True):
        factor *= layer_decay ** (depth - one.layer)
        for decays in (True, False):  # weights first, whichever comes first
            gathered.setdefault((factor, decays), [])
        if one.parameter.requires_grad:
            gathered[factor, one.parameter.dim() > 1].append(one)
    return gathered


def _multipliers(
    parameters: list[_NamedParameter], lr_multipliers: Mapping[str, float]
) -> list[float]:
    """Returns the factor of each parameter by the first pattern that fits one of its names."""
    fits = [
        [any(fnmatchcase(name, pattern) for name in one.names) for pattern in lr_multipliers]
        for one in parameters
    ]
    for index, pattern in enumerate(lr_multipliers):
        if not any(row[index] for row in fits):
            raise unknown("pattern of lr_multipliers", pattern, _broad_patterns(parameters))
    return [
        next((factor for factor, fit in zip(lr_multipliers.values(), row, strict=True) if fit), 1.0)
        for row in fits
    ]


def _broad_patterns(parameters: list[_NamedParameter]) -> list[str]:
    """Returns a pattern for each part of the model: stem.*, head.* and so on."""
    parts = [name.partition(".") for one in parameters for name in one.names]
    return list(dict.fromkeys(f"{part}.*" if dot else part for part, dot, _ in parts))


def _check(
    lr: float | None,
    layer_decay: float | None,
    lr_multipliers: Mapping[str, float],
    bias_lr_multiplier: float,
) -> None:
    check_range("bias_lr_multiplier", bias_lr_multiplier, low=0.0, high=math.inf, high_open=True)
    given = {
        "bias_lr_multiplier": bias_lr_multiplier != 1.0,
        "lr_multipliers": bool(lr_multipliers),
        "layer_decay": layer_decay is not None,
    }
    if lr is None and any(given.values()):
        first = next(name for name, is_given in given.items() if is_given)
        raise SettingError(f"{first} needs lr, the learning rate that it multiplies; give lr=")
    if lr is not None:
        check_range("lr", lr, low=0.0, high_open=True)
    if layer_decay is not None:
        check_range("layer_decay", layer_decay, low=0.0, high=1.0, low_open=True)
    for pattern, factor in lr_multipliers.items():
        name = f"lr_multipliers[{pattern!r}]"
        check_range(name, factor, low=0.0, high=math.inf, high_open=True)
