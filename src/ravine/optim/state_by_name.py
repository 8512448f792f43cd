"""An optimizer's state by the names of its parameters, and as a file.

By name and shape, not by position: a network whose parameters were put in another order, or into
other groups, finds its own state again, and a parameter that does not fit is named in the error.
Files are safetensors with JSON metadata: loading one runs no code.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.core.tensor_file import load_tensors, save_tensors
from ravine.optim.base import RuleOptimizer

_SHOWN = 3


def named_state(optimizer: RuleOptimizer, model: nn.Module) -> dict[str, Tensor]:
    """Returns every tensor of the state as NAME/SLOT, in its own shape and type; not copied.

    Raises:
        SettingError: the optimizer holds a parameter that the model does not.
    """
    return {
        f"{name}/{slot}": value
        for name, p in _named(optimizer, model).items()
        for slot, value in optimizer.state.get(p, {}).items()
    }


def load_named_state(
    optimizer: RuleOptimizer, model: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Replaces the state by one that `named_state` returned; the tensors are copied.

    All is checked before anything is changed. Parameters without a saved state start anew, like
    those without a gradient so far.

    Raises:
        SettingError: a parameter is missing, has another shape, or the state is of another
            rule; the parameters are named.
    """
    named = _named(optimizer, model)
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, slot = key.rpartition("/")
        found.setdefault(name, {})[slot] = value
    unknown = sorted(set(found) - set(named))
    if unknown:
        raise SettingError(
            f"the saved state has no parameter to go to for {_some(unknown)}: "
            "it belongs to another network, or the optimizer holds fewer of its parameters"
        )
    for name, slots in found.items():
        _check_fit(optimizer, name, named[name], slots)
    for name, p in named.items():
        if name not in found:
            optimizer.state.pop(p, None)
            continue
        slots = {slot: value.to(p.device, copy=True) for slot, value in found[name].items()}
        optimizer.state[p] = slots


def save_state(path: Path | str, optimizer: RuleOptimizer, model: nn.Module) -> None:
    """Writes the state and the hyperparameters by parameter name, whole or not at all.

    Raises:
        SettingError: the optimizer holds a parameter that the model does not.
        RunError: the file cannot be written.
    """
    named = _named(optimizer, model)
    group_of = {
        p: index for index, group in enumerate(optimizer.param_groups) for p in group["params"]
    }
    about = {
        "optimizer": type(optimizer).__name__,
        "groups": [_hyperparameters(group) for group in optimizer.param_groups],
        "group_of": {name: group_of[p] for name, p in named.items()},
    }
    save_tensors(Path(path), named_state(optimizer, model), about)


def load_state(
    path: Path | str,
    optimizer: RuleOptimizer,
    model: nn.Module,
    *,
    hyperparameters: bool = False,
) -> None:
    """Replaces the state by a saved one, by the names of the parameters.

    Args:
        path: a file of `save_state`.
        optimizer: of the same rule.
        model: gives the parameters their names.
        hyperparameters: take learning rate, decay and the others from the file too. By default
            the optimizer's stay: loading does not undo a learning rate changed on purpose.

    Raises:
        SettingError: the file is of another optimizer or network; the misfit is named.
        RunError: the file does not exist, is torn, or is no safetensors file.
    """
    tensors, about = load_tensors(Path(path))
    saved = about.get("optimizer")
    if saved != type(optimizer).__name__:
        raise SettingError(f"{path} is the state of {saved}, not of {type(optimizer).__name__}")
    if hyperparameters:
        chosen = _group_settings(path, optimizer, model, about)
        load_named_state(optimizer, model, tensors)
        for group, settings in zip(optimizer.param_groups, chosen, strict=True):
            group.update(settings)
    else:
        load_named_state(optimizer, model, tensors)


def _named(optimizer: RuleOptimizer, model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the optimizer's parameters by their names in the model; tied ones once."""
    held = {p for group in optimizer.param_groups for p in group["params"]}
    named = {name: p for name, p in model.named_parameters() if p in held}
    if len(named) < len(held):
        lost = sorted(str(tuple(p.shape)) for p in held - set(named.values()))
        raise SettingError(
            f"the optimizer holds parameters that the model does not, of shape {_some(lost)}: "
            "give the model that it was made for"
        )
    return named


def _check_fit(
    optimizer: RuleOptimizer, name: str, p: nn.Parameter, slots: Mapping[str, Tensor]
) -> None:
    group = next(group for group in optimizer.param_groups if any(p is q for q in group["params"]))
    fresh = optimizer.initial_state(torch.empty(1), group)
    expected = {"step": torch.Size(), **{slot: value.shape for slot, value in fresh.items()}}
    if slots.keys() != expected.keys():
        raise SettingError(
            f"the saved state of {name} has {_some(sorted(slots))} where "
            f"{type(optimizer).__name__} keeps {_some(sorted(expected))}: it is another rule's"
        )
    for slot, value in slots.items():
        wanted = p.shape if len(expected[slot]) else torch.Size()
        if value.shape != wanted:
            raise SettingError(
                f"the saved {slot} of {name} has the shape {tuple(value.shape)} where "
                f"{tuple(wanted)} is needed: it belongs to another network"
            )


def _group_settings(
    path: Path | str, optimizer: RuleOptimizer, model: nn.Module, about: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns for each group the saved hyperparameters of its parameters; checked."""
    groups, group_of = about.get("groups"), about.get("group_of")
    if not isinstance(groups, list) or not isinstance(group_of, dict):
        raise SettingError(f"{path} has no hyperparameters: load it without them")
    names = {p: name for name, p in _named(optimizer, model).items()}
    chosen = []
    for index, group in enumerate(optimizer.param_groups):
        saved = {group_of.get(names[p]) for p in group["params"]}
        if len(saved) != 1:
            raise SettingError(
                f"the parameters of group {index} had hyperparameters of several groups in {path}: "
                "make the groups as they were, or load without hyperparameters"
            )
        number = saved.pop()
        if not isinstance(number, int) or not 0 <= number < len(groups):
            raise SettingError(
                f"{path} has no hyperparameters for group {index}: load it without them"
            )
        settings = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in dict(groups[number]).items()
            if name in group
        }
        optimizer.check_group({**group, **settings})
        chosen.append(settings)
    return chosen


def _hyperparameters(group: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.item() if isinstance(value, Tensor) else value
        for name, value in group.items()
        if name not in ("params", "param_names")
    }


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
