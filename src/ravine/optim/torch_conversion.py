"""From torch.optim: the equivalent optimizer of this package, learning rate and state converted.

| torch | here |
|---|---|
| SGD(lr, momentum γ) | Momentum(lr/(1−γ), γ), v = (1−γ) · momentum_buffer, coupled decay |
| Adam, AdamW | Adam with coupled, decoupled decay |
| RMSprop, Adagrad | RMSProp, AdaGrad with ε outside the root, coupled decay |
| NAdam | Nadam in the form that its momentum_decay stands for |

The next steps of the two are the same to rounding. Options without an equivalent are refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ravine.core.errors import SettingError
from ravine.optim.adagrad import AdaGrad
from ravine.optim.adam import Adam
from ravine.optim.base import RuleOptimizer
from ravine.optim.momentum import Momentum
from ravine.optim.nadam import Nadam
from ravine.optim.rmsprop import RMSProp
from ravine.optim.saved_state import check_of_torch

Group = Mapping[str, Any]
Slots = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Equivalent:
    """An optimizer of this package, and how a torch optimizer's groups and state become its own.

    Attributes:
        kind: its class.
        settings: a torch group to the hyperparameters of ours.
        slots: torch's names of the state's tensors to ours.
    """

    kind: type[RuleOptimizer]
    settings: Callable[[Group], dict[str, Any]]
    slots: Mapping[str, str]


# Torch's momentum_decay ψ, by the form of Nadam that it gives.
_FORMS = {0.004: "dozat", 1.0: "keras", 1e9: "dozat-constant"}
_REFUSED = ("amsgrad", "maximize", "centered", "lr_decay", "differentiable")


def from_torch(optimizer: Optimizer) -> RuleOptimizer:
    """Returns the equivalent of a torch optimizer, on the same parameters, with its state.

    The state is copied; the torch optimizer is left as it is, and must not step any more.

    Raises:
        SettingError: the class, or one of its options, has no equivalent here.
    """
    kind = type(optimizer)
    if kind not in _EQUIVALENTS:
        known = ", ".join(sorted(one.__name__ for one in _EQUIVALENTS))
        raise SettingError(f"{kind.__name__} of torch has no equivalent here; these do: {known}")
    groups = [
        {**_settings(kind, group), "params": group["params"]} for group in optimizer.param_groups
    ]
    made: RuleOptimizer = _EQUIVALENTS[kind].kind(groups)  # type: ignore[call-arg]
    for group, own in zip(optimizer.param_groups, made.param_groups, strict=True):
        own.update(_rates_of_schedules(kind, group))
    for group in optimizer.param_groups:
        for p in group["params"]:
            if optimizer.state.get(p):
                made.state[p] = _slots(kind, group, p, optimizer.state[p])
    return made


def load_torch_state(
    optimizer: RuleOptimizer, saved: Mapping[str, Any], kind: type[Optimizer]
) -> None:
    """Replaces the optimizer's state by the state dict of a torch optimizer, converted.

    Parameters are matched by name where both sides have names (`param_names` in the groups), by
    position otherwise. All is checked before anything is changed.

    Args:
        optimizer: to load into.
        saved: the `state_dict()` of the torch optimizer.
        kind: the class of that optimizer, such as `torch.optim.AdamW`.

    Raises:
        SettingError: the rules differ, an option has no equivalent, or a parameter is missing or
            of another shape.
    """
    if kind not in _EQUIVALENTS or _EQUIVALENTS[kind].kind is not type(optimizer):
        raise SettingError(
            f"a state of {kind.__name__} does not go into {type(optimizer).__name__}"
        )
    check_of_torch(saved, kind.__name__)
    groups = saved["param_groups"]
    matched = _matched(optimizer, groups)
    slots: dict[Tensor, Slots] = {}
    settings = [_settings(kind, group) for group in groups]
    for p, (index, group, name) in matched.items():
        if index in saved["state"]:
            slots[p] = _slots(kind, group, p, saved["state"][index], name=name)
    chosen = _group_settings(optimizer, groups, settings, matched)
    for group, new in zip(optimizer.param_groups, chosen, strict=True):
        group.update(new)
    optimizer.state.clear()
    for p, new_slots in slots.items():
        optimizer.state[p] = new_slots


def _group_settings(
    optimizer: RuleOptimizer,
    groups: list[dict[str, Any]],
    settings: list[dict[str, Any]],
    matched: Mapping[Tensor, tuple[int, Group, str]],
) -> list[dict[str, Any]]:
    """Returns for each group of ours the converted hyperparameters of its parameters."""
    by_index = {
        index: chosen
        for group, chosen in zip(groups, settings, strict=True)
        for index in group["params"]
    }
    chosen_of = []
    for number, group in enumerate(optimizer.param_groups):
        chosen = [by_index[matched[p][0]] for p in group["params"]]
        if any(one != chosen[0] for one in chosen):
            raise SettingError(
                f"the parameters of group {number} had several learning rates or decays in the "
                "saved state: make the groups as they were"
            )
        chosen_of.append(chosen[0] if chosen else {})
    return chosen_of


def _matched(
    optimizer: RuleOptimizer, groups: list[dict[str, Any]]
) -> dict[Tensor, tuple[int, Group, str]]:
    """Returns for each parameter its index in the saved state, its group there and its name."""
    held = [p for group in optimizer.param_groups for p in group["params"]]
    saved = [(index, group) for group in groups for index in group["params"]]
    mine = [name for group in optimizer.param_groups for name in group.get("param_names", ())]
    theirs = [name for group in groups for name in group.get("param_names", ())]
    if len(mine) == len(held) and len(theirs) == len(saved):
        if sorted(mine) != sorted(theirs):
            odd = sorted(set(mine) ^ set(theirs))
            raise SettingError(f"only one side has the parameter {odd[0]}: another network's state")
        by_name = dict(zip(theirs, saved, strict=True))
        return {p: (*by_name[name], name) for p, name in zip(held, mine, strict=True)}
    if len(held) != len(saved):
        raise SettingError(
            f"the saved state is of {len(saved)} parameters, the optimizer holds {len(held)}"
        )
    return {
        p: (index, group, f"number {number}")
        for number, (p, (index, group)) in enumerate(zip(held, saved, strict=True))
    }


def _settings(kind: type[Optimizer], group: Group) -> dict[str, Any]:
    """Returns a torch group's hyperparameters under the names and in the units of our class."""
    for option in _REFUSED:
        if group.get(option):
            raise SettingError(
                f"{kind.__name__}({option}={group[option]!r}) has no equivalent here; "
                "train on with torch, or start without it"
            )
    common = {"lr": float(group["lr"]), "weight_decay": float(group["weight_decay"])}
    return common | _EQUIVALENTS[kind].settings(group)


def _rates_of_schedules(kind: type[Optimizer], group: Group) -> dict[str, float]:
    """Returns the learning rates that a schedule of torch keeps in a group, in our units.

    Without `initial_lr` no schedule can be made that goes on from a later step.
    """
    held = [name for name in ("initial_lr", "max_lr", "min_lr") if name in group]
    return {name: float(_settings(kind, {**group, "lr": group[name]})["lr"]) for name in held}


def _sgd(group: Group) -> dict[str, Any]:
    γ = float(group["momentum"])
    if group["dampening"] and γ:
        raise SettingError(
            f"SGD(dampening={group['dampening']!r}) has no equivalent here: its first step is not "
            "damped; dampening=0 has one"
        )
    if γ >= 1:
        raise SettingError(f"SGD(momentum={γ:g}) has no equivalent here: it must be below 1")
    return {
        "lr": float(group["lr"]) / (1 - γ),
        "momentum": γ,
        "nesterov": bool(group["nesterov"]),
        "decay": "coupled",
    }


def _adagrad(group: Group) -> dict[str, Any]:
    return {"eps": float(group["eps"]), "eps_in_root": False, "decay": "coupled"}


def _rmsprop(group: Group) -> dict[str, Any]:
    if group["momentum"]:
        raise SettingError(
            f"RMSprop(momentum={group['momentum']!r}) has no equivalent here; Adam has momentum"
        )
    return {**_adagrad(group), "alpha": float(group["alpha"])}


def _adam(group: Group) -> dict[str, Any]:
    decoupled = group.get("decoupled_weight_decay", False)
    return {
        "betas": tuple(float(beta) for beta in group["betas"]),
        "eps": float(group["eps"]),
        "eps_in_root": False,
        "decay": "decoupled" if decoupled else "coupled",
    }


def _nadam(group: Group) -> dict[str, Any]:
    ψ = group["momentum_decay"]
    if ψ not in _FORMS:
        known = ", ".join(f"{one:g} ({form})" for one, form in _FORMS.items())
        raise SettingError(f"NAdam(momentum_decay={ψ!r}) has no equivalent here; these do: {known}")
    return {**_adam(group), "form": _FORMS[ψ]}


def _slots(
    kind: type[Optimizer], group: Group, p: Tensor, saved: Mapping[str, Any], *, name: str = ""
) -> Slots:
    """Returns a parameter's state under the names of our class, copied, in its own precision."""
    step = torch.tensor(int(saved.get("step", 0) or 0), dtype=torch.int64, device=p.device)
    slots: Slots = {"step": step}
    for theirs, ours in _EQUIVALENTS[kind].slots.items():
        value = saved.get(theirs)
        value = torch.zeros_like(p) if value is None else value
        if value.shape != p.shape:
            raise SettingError(
                f"the saved {theirs} of parameter {name or '?'} has the shape "
                f"{tuple(value.shape)} where {tuple(p.shape)} is needed"
            )
        slots[ours] = value.detach().to(p.device, copy=True)
    if kind is torch.optim.SGD:
        slots["v"].mul_(1 - float(group["momentum"]))
    if kind is torch.optim.NAdam:
        slots["mu_product"] = (
            torch.as_tensor(saved["mu_product"]).detach().to(p.device, torch.float64, copy=True)
        )
    return slots


_MOMENTS = {"exp_avg": "v", "exp_avg_sq": "G"}
_EQUIVALENTS: Mapping[type[Optimizer], _Equivalent] = {
    torch.optim.SGD: _Equivalent(kind=Momentum, settings=_sgd, slots={"momentum_buffer": "v"}),
    torch.optim.Adagrad: _Equivalent(kind=AdaGrad, settings=_adagrad, slots={"sum": "G"}),
    torch.optim.RMSprop: _Equivalent(kind=RMSProp, settings=_rmsprop, slots={"square_avg": "G"}),
    torch.optim.Adam: _Equivalent(kind=Adam, settings=_adam, slots=_MOMENTS),
    torch.optim.AdamW: _Equivalent(
        kind=Adam, settings=lambda group: {**_adam(group), "decay": "decoupled"}, slots=_MOMENTS
    ),
    torch.optim.NAdam: _Equivalent(kind=Nadam, settings=_nadam, slots=_MOMENTS),
}
