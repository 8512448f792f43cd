"""Whether a saved state is of an optimizer's own rule: checked before anything is changed.

torch's optimizers keep other hyperparameters and other slots under other names; their state
dictionaries are converted by `ravine.optim.load_torch_state`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.core.errors import SettingError

Group = Mapping[str, Any]

# A hyperparameter that only one optimizer of torch has; and the class here that takes its state.
_OF_TORCH = {
    "dampening": ("SGD", "Momentum"),
    "amsgrad": ("Adam", "Adam"),
    "centered": ("RMSprop", "RMSProp"),
    "lr_decay": ("Adagrad", "AdaGrad"),
    "momentum_decay": ("NAdam", "Nadam"),
}
_OF_ALL_TORCH = frozenset({"maximize", "foreach", "differentiable", "capturable"})
_OF_RULES = frozenset({"betas", "momentum", "alpha", "nesterov", "form", "orthogonal"})


def check_saved_state(
    kind: str,
    defaults: Mapping[str, Any],
    held: Sequence[Tensor],
    saved: Any,
    initial_state: Callable[[Tensor, Group], Mapping[str, Tensor]],
) -> tuple[list[Any], dict[Any, Mapping[str, Tensor]]]:
    """Returns the indices of the saved parameters in their order, and the state by index.

    Args:
        kind: the optimizer's class.
        defaults: its hyperparameters.
        held: its parameters, of any shape.
        saved: what `state_dict()` returned.
        initial_state: the state of a parameter of a group before its first step.

    Raises:
        SettingError: it is no state of an optimizer, is one of another rule or of torch, or a
            tensor of it has not the shape of its parameter.
    """
    groups, values = _parts(saved)
    indices = [(index, group) for group in groups for index in group["params"]]
    for group in groups:
        _check_rule(kind, defaults, group)
    for p, (index, group) in zip(held, indices, strict=False):  # torch compares the lengths
        if slots := values.get(index):
            _check_slots(kind, slots, p, initial_state(torch.empty(1), group))
    return [index for index, _ in indices], values


def check_of_torch(saved: Any, kind: str) -> None:
    """Raises `SettingError` unless a saved state is of the class `kind` of torch.optim."""
    for group in _parts(saved)[0]:
        found = _torch_class(group)
        if found is None:
            raise SettingError(
                f"the saved state is not of torch's {kind}; a state of Ravine's own goes in by "
                "optimizer.load_state_dict(saved)"
            )
        if found[0].removesuffix("W") != kind.removesuffix("W"):
            theirs = found[0] or "another optimizer"
            raise SettingError(f"the saved state is of torch's {theirs}, not of {kind}")


def _parts(saved: Any) -> tuple[list[dict[str, Any]], dict[Any, Mapping[str, Tensor]]]:
    """Returns the groups of a saved state, and the state by the index of a parameter."""
    try:
        groups = [{**group, "params": list(group["params"])} for group in saved["param_groups"]]
        return groups, dict(saved["state"])
    except (KeyError, TypeError, ValueError):
        raise SettingError(
            "the saved state has no `state` and `param_groups`; wanted is what state_dict() of "
            "an optimizer returned"
        ) from None


def _torch_class(group: Group) -> tuple[str, str] | None:
    """Returns the torch class of a group and the class here; ("", "") for one unknown."""
    found = next((_OF_TORCH[name] for name in _OF_TORCH if name in group), None)
    if found is None:
        return ("", "") if _OF_ALL_TORCH & group.keys() else None
    is_decoupled = found[0] == "Adam" and group.get("decoupled_weight_decay") is True
    return ("AdamW", "Adam") if is_decoupled else found


def _check_rule(kind: str, defaults: Mapping[str, Any], group: Group) -> None:
    of_torch = _torch_class(group)
    if of_torch is not None:
        theirs, ours = of_torch
        if ours == kind:
            remedy = f"ravine.optim.load_torch_state(optimizer, saved, torch.optim.{theirs})"
            raise SettingError(f"the saved state is of torch's {theirs}: load it by {remedy}")
        into = f", which goes into ravine.optim.{ours}" if ours else ""
        name = f"torch's {theirs}{into}" if theirs else "an optimizer of torch without equivalent"
        raise SettingError(f"the saved state is of {name}, not of {kind}")
    lacks = sorted(defaults.keys() - group.keys())
    more = sorted(group.keys() & _OF_RULES - defaults.keys())
    if lacks or more:
        what = f"no {', '.join(lacks)}" if lacks else ", ".join(more)
        raise SettingError(
            f"the saved state is of another rule than {kind}: its groups have {what}; make the "
            "optimizer that it was saved from"
        )


def _check_slots(
    kind: str, slots: Mapping[str, Tensor], p: Tensor, fresh: Mapping[str, Tensor]
) -> None:
    wanted = {"step", *fresh}
    if slots.keys() != wanted:
        raise SettingError(
            f"the saved state has {', '.join(sorted(slots))} where {kind} keeps "
            f"{', '.join(sorted(wanted))}: it is another rule's"
        )
    for name, value in slots.items():
        if value.dim() and value.shape != p.shape:
            raise SettingError(
                f"the saved state {name} has the shape {tuple(value.shape)} where the "
                f"parameter has {tuple(p.shape)}: it belongs to another network"
            )
