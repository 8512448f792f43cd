"""From torch.optim: the equivalent optimizer of this package, rates and state converted.

| torch | here |
|---|---|
| SGD(lr, momentum γ) | Momentum(lr/(1−γ), γ), v = (1−γ) · momentum_buffer, coupled decay |
| Adam, AdamW | Adam with coupled, decoupled decay |
| RMSprop, Adagrad | RMSProp, AdaGrad with ε outside the root, coupled decay |
| NAdam | Nadam in the form that its momentum_decay stands for |

The next steps of the two are the same to rounding. What has no equivalent is refused.
"""

from collections.abc import Callable, Mapping
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

Group = Mapping[str, Any]
Slots = dict[str, Tensor]

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
    if kind not in _KINDS:
        known = ", ".join(sorted(one.__name__ for one in _KINDS))
        raise SettingError(f"{kind.__name__} of torch has no equivalent here; these do: {known}")
    groups = [
        {**_settings(kind, group), "params": group["params"]} for group in optimizer.param_groups
    ]
    made = _KINDS[kind](groups)
    for group in optimizer.param_groups:
        for p in group["params"]:
            if optimizer.state.get(p):
                made.state[p] = _slots(kind, group, p, optimizer.state[p])
    return made


def load_torch_state(
    optimizer: RuleOptimizer, saved: Mapping[str, Any], kind: type[Optimizer]
) -> None:
    """Puts the state dict of a torch optimizer in place of this one's, rates converted.

    Parameters are matched by name where both sides have names (`param_names` in the groups), by
    place otherwise. All is checked before anything is changed.

    Args:
        optimizer: to load into.
        saved: what `state_dict()` of the torch optimizer returned.
        kind: the class of that optimizer, such as `torch.optim.AdamW`.

    Raises:
        SettingError: the rules differ, an option has no equivalent, or a parameter is missing or
            of another shape.
    """
    if kind not in _KINDS or _KINDS[kind] is not type(optimizer):
        raise SettingError(
            f"a state of {kind.__name__} does not go into {type(optimizer).__name__}"
        )
    groups = saved["param_groups"]
    settings = [_settings(kind, group) for group in groups]
    matched = _matched(optimizer, groups)
    slots: dict[Tensor, Slots] = {}
    for p, (place, group, name) in matched.items():
        if place in saved["state"]:
            slots[p] = _slots(kind, group, p, saved["state"][place], name=name)
    by_place = {
        place: chosen
        for group, chosen in zip(groups, settings, strict=True)
        for place in group["params"]
    }
    chosen_of = []
    for index, group in enumerate(optimizer.param_groups):
        chosen = [by_place[matched[p][0]] for p in group["params"]]
        if any(one != chosen[0] for one in chosen):
            raise SettingError(
                f"the parameters of group {index} had several rates or decays in the saved state: "
                "make the groups as they were"
            )
        chosen_of.append(chosen[0] if chosen else {})
    for group, new in zip(optimizer.param_groups, chosen_of, strict=True):
        group.update(new)
    optimizer.state.clear()
    for p, new_slots in slots.items():
        optimizer.state[p] = new_slots


def _matched(
    optimizer: RuleOptimizer, groups: list[dict[str, Any]]
) -> dict[Tensor, tuple[int, Group, str]]:
    """Returns for each parameter its number in the saved state, its group there and its name."""
    held = [p for group in optimizer.param_groups for p in group["params"]]
    places = [(place, group) for group in groups for place in group["params"]]
    mine = [name for group in optimizer.param_groups for name in group.get("param_names", ())]
    theirs = [name for group in groups for name in group.get("param_names", ())]
    if len(mine) == len(held) and len(theirs) == len(places):
        if sorted(mine) != sorted(theirs):
            odd = sorted(set(mine) ^ set(theirs))
            raise SettingError(f"only one side has the parameter {odd[0]}: another network's state")
        saved = dict(zip(theirs, places, strict=True))
        return {p: (*saved[name], name) for p, name in zip(held, mine, strict=True)}
    if len(held) != len(places):
        raise SettingError(
            f"the saved state is of {len(places)} parameters, the optimizer holds {len(held)}"
        )
    return {
        p: (place, group, f"number {index}")
        for index, (p, (place, group)) in enumerate(zip(held, places, strict=True))
    }


def _settings(kind: type[Optimizer], group: Group) -> dict[str, Any]:
    """Returns a group's hyperparameters as our class has them."""
    for option in _REFUSED:
        if group.get(option):
            raise SettingError(
                f"{kind.__name__}({option}={group[option]!r}) has no equivalent here; "
                "train on with torch, or start without it"
            )
    return {"lr": float(group["lr"]), "weight_decay": float(group["weight_decay"])} | _SETTINGS[
        kind
    ](group)


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
    """Returns a parameter's state as our class has it, copied, in its own precision."""
    step = torch.tensor(int(saved.get("step", 0) or 0), dtype=torch.int64, device=p.device)
    slots: Slots = {"step": step}
    for theirs, ours in _STATE[kind].items():
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


_KINDS: Mapping[type[Optimizer], Callable[..., RuleOptimizer]] = {
    torch.optim.SGD: Momentum,
    torch.optim.Adagrad: AdaGrad,
    torch.optim.RMSprop: RMSProp,
    torch.optim.Adam: Adam,
    torch.optim.AdamW: Adam,
    torch.optim.NAdam: Nadam,
}
_SETTINGS: Mapping[type[Optimizer], Callable[[Group], dict[str, Any]]] = {
    torch.optim.SGD: _sgd,
    torch.optim.Adagrad: _adagrad,
    torch.optim.RMSprop: _rmsprop,
    torch.optim.Adam: _adam,
    torch.optim.AdamW: lambda group: {**_adam(group), "decay": "decoupled"},
    torch.optim.NAdam: _nadam,
}
_STATE: Mapping[type[Optimizer], Mapping[str, str]] = {
    torch.optim.SGD: {"momentum_buffer": "v"},
    torch.optim.Adagrad: {"sum": "G"},
    torch.optim.RMSprop: {"square_avg": "G"},
    torch.optim.Adam: {"exp_avg": "v", "exp_avg_sq": "G"},
    torch.optim.AdamW: {"exp_avg": "v", "exp_avg_sq": "G"},
    torch.optim.NAdam: {"exp_avg": "v", "exp_avg_sq": "G"},
}
