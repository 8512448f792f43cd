"""Parameter groups: weight decay that spares biases and norms, and rates by layer and by name.

A layer is a module that holds a weight (a parameter with more than one dimension) itself. Its
bias belongs to it, and so do the norms and other modules without a weight that are registered
after it; what stands before the first weight belongs to the first layer. The order is that in
which the model registers its modules, shortcuts included.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from ravine.core.errors import SettingError, unknown
from ravine.core.validation import check_range


def parameter_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    lr: float | None = None,
    layer_decay: float | None = None,
    rates: Mapping[str, float] | None = None,
    bias_rate: float = 1.0,
    named: bool = False,
) -> list[dict[str, Any]]:
    """Returns groups of all parameters that learn, each parameter once.

    Parameters with less than two dimensions are biases and the scales and shifts of
    normalisation layers; they have no decay. Parameters that need no gradient are left out, and
    one that stands in several places belongs to the first. Without `layer_decay` and `rates`
    there are two groups: weights, then what is spared; with them, two for each rate.

    Args:
        model: the network.
        weight_decay: λ of the weights.
        lr: rate of the last layer, which the next two multiply; None leaves it to the optimizer.
        layer_decay: d in (0, 1]; the layer that is k layers before the last has the rate lr·dᵏ.
            Clark et al. 2020 and Bao et al. 2022 (BEiT) count blocks; here each weight counts, so
            that d is nearer to 1: their 0.75 a block of four layers is 0.93.
        rates: factor of the rate by a pattern of names such as `stem.*`, where * is any text.
            The first that fits holds, and multiplies what `layer_decay` gives.
        bias_rate: factor of the rate of what has no decay.
        named: tell the optimizer the names as well (torch's `param_names`), for its state_dict.

    Raises:
        SettingError: a value is out of its range, a pattern fits no parameter, or a rate is
            missing.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    >>> groups = parameter_groups(
    ...     model, weight_decay=0.1, lr=1.0, layer_decay=0.5, rates={"0.*": 0.1}
    ... )
    >>> [(group["lr"], group["weight_decay"]) for group in groups]
    [(0.025, 0.1), (0.025, 0.0), (0.5, 0.1), (0.5, 0.0), (1.0, 0.1), (1.0, 0.0)]
    """
    _check(lr=lr, layer_decay=layer_decay, rates=rates, bias_rate=bias_rate)
    places = _places(model)
    depth = max((place.layer for place in places), default=0)
    by_pattern = _factors(places, rates or {})
    gathered: dict[tuple[float, bool], list[_Place]] = {}
    for place, factor in zip(places, by_pattern, strict=True):
        factor *= (layer_decay or 1.0) ** (depth - place.layer)
        for decays in (True, False):  # weights first, whichever comes first
            gathered.setdefault((factor, decays), [])
        if place.parameter.requires_grad:
            gathered[factor, place.parameter.dim() > 1].append(place)
    return [
        {
            "params": [place.parameter for place in held],
            "weight_decay": weight_decay if decays else 0.0,
            **({} if lr is None else {"lr": lr * factor * (1.0 if decays else bias_rate)}),
            **({"param_names": [place.names[0] for place in held]} if named else {}),
        }
        for (factor, decays), held in gathered.items()
        if held
    ]


@dataclass(frozen=True, slots=True)
class _Place:
    """A parameter, its names (the first is where it stands first), and the layer it belongs to."""

    parameter: Tensor
    names: list[str]
    layer: int


def _places(model: nn.Module) -> list[_Place]:
    """Returns all parameters in the order of the model, each once; layers count from 0."""
    found: dict[Tensor, _Place] = {}
    layer = -1
    for module_name, module in model.named_modules():
        own = list(module.named_parameters(module_name, recurse=False))
        if any(parameter.dim() > 1 for _, parameter in own):
            layer += 1
        for _, parameter in own:
            found.setdefault(parameter, _Place(parameter, [], max(0, layer)))
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found[parameter].names.append(name)
    return list(found.values())


def _factors(places: list[_Place], rates: Mapping[str, float]) -> list[float]:
    """Returns the factor of each parameter by the first pattern that fits one of its names."""
    fits = [
        [any(fnmatchcase(name, pattern) for name in place.names) for pattern in rates]
        for place in places
    ]
    for index, pattern in enumerate(rates):
        if not any(row[index] for row in fits):
            raise unknown("pattern of rates", pattern, _broad_patterns(places))
    return [
        next((rate for rate, fit in zip(rates.values(), row, strict=True) if fit), 1.0)
        for row in fits
    ]


def _broad_patterns(places: list[_Place]) -> list[str]:
    """Returns a pattern for each part of the model: stem.*, head.* and so on."""
    parts = [name.partition(".") for place in places for name in place.names]
    return list(dict.fromkeys(f"{part}.*" if dot else part for part, dot, _ in parts))


def _check(
    *,
    lr: float | None,
    layer_decay: float | None,
    rates: Mapping[str, float] | None,
    bias_rate: float,
) -> None:
    check_range("bias_rate", bias_rate, low=0.0, high=math.inf, high_open=True)
    if lr is None and (layer_decay is not None or rates or bias_rate != 1.0):
        given = "bias_rate" if bias_rate != 1.0 else "rates" if rates else "layer_decay"
        raise SettingError(f"{given} needs lr, the rate that it multiplies; give lr=")
    if lr is not None:
        check_range("lr", lr, low=0.0, high_open=True)
    if layer_decay is not None:
        check_range("layer_decay", layer_decay, low=0.0, high=1.0, low_open=True)
    for pattern, factor in (rates or {}).items():
        check_range(f"rates[{pattern!r}]", factor, low=0.0, high=math.inf, high_open=True)
