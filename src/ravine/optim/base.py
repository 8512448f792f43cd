"""What all optimizers share: the walk over the parameters, and the step as a transaction.

A subclass names its state and applies its rule to one tensor; nothing else. Weights and
state are replaced only where the step is allowed, so that a gradient that is not finite
leaves both bitwise as they were, without the host having to know.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from ravine.core.checks import check_choice, check_range
from ravine.core.errors import SettingError
from ravine.optim.rules import Number, coupled_decay, decoupled_decay

Decay = Literal["decoupled", "coupled"]
State = dict[str, Tensor]


class RuleOptimizer(Optimizer):
    """An optimizer made of one pure rule."""

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)

    @property
    @abstractmethod
    def formula(self) -> str:
        """The update, as it is shown."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group of parameters; what it does not say is as in the other groups.

        Raises:
            SettingError: a hyperparameter of the group is out of its range.
        """
        self.check_group({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Raises `SettingError` unless each hyperparameter is in its range."""
        check_range("lr", group["lr"], low=0.0, high_open=True)
        check_range("weight_decay", group["weight_decay"], low=0.0, high_open=True)
        check_choice("decay", group["decay"], ["decoupled", "coupled"])
        if "eps" in group:
            # 0 would make 0/0 of a weight that has had no gradient yet.
            check_range("eps", group["eps"], low=0.0, low_open=True, high_open=True)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Puts a saved state in place of this one, by position, in the types it was saved in.

        torch's own would cast it to the weights' type, and share its tensors with the saved one.

        Raises:
            SettingError: a tensor of the state has not the shape of its parameter.
            ValueError: the groups differ in number or size.
        """
        saved = [index for group in state_dict["param_groups"] for index in group["params"]]
        held = [p for group in self.param_groups for p in group["params"]]
        for p, index in zip(held, saved, strict=False):  # torch compares the lengths
            for name, value in state_dict["state"].get(index, {}).items():
                if value.dim() and value.shape != p.shape:
                    raise SettingError(
                        f"the saved state {name} has the shape {tuple(value.shape)} where the "
                        f"parameter has {tuple(p.shape)}: it belongs to another network"
                    )
        super().load_state_dict(state_dict)
        for p, index in zip(held, saved, strict=True):
            kept = state_dict["state"].get(index, {})
            self.state[p] = {k: value.to(p.device, copy=True) for k, value in kept.items()}

    @abstractmethod
    def initial_state(self, w: Tensor) -> State:
        """Returns the state of a parameter before its first step."""

    @abstractmethod
    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Returns the new weights and the new state; `state["step"]` is already k."""

    @torch.no_grad()
    def step(
        self,
        closure: Callable[[], Any] | None = None,
        *,
        ok: Tensor | None = None,
        scale: Tensor | None = None,
        gradients: Mapping[Tensor, Tensor] | None = None,
        clear: bool = False,
    ) -> Any:
        """Takes one step and returns what `closure` returned, if there is one.

        Args:
            closure: evaluates the model again and returns the loss, as in torch.
            ok: 0-dim bool tensor on the device; where False weights and state stay bitwise
                what they were. It is not read by the host.
            scale: 0-dim tensor that gradients are multiplied by; `.grad` itself is left alone.
            gradients: used in place of `.grad` for the parameters that it holds.
            clear: drop the gradients afterwards.
        """
        if ok is not None and _is_read_at_once(ok):
            return self._step_if(closure, bool(ok), None, scale, gradients, clear)
        return self._step_if(closure, True, ok, scale, gradients, clear)

    def _step_if(
        self,
        closure: Callable[[], Any] | None,
        allowed: bool,
        ok: Tensor | None,
        scale: Tensor | None,
        gradients: Mapping[Tensor, Tensor] | None,
        clear: bool,
    ) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                g = gradients[w] if gradients and w in gradients else w.grad
                if g.is_sparse:
                    raise SettingError(
                        f"{type(self).__name__} takes dense gradients only; "
                        "build the embedding with sparse=False"
                    )
                if allowed:
                    self._step_one(w, g if scale is None else g * scale.to(g.dtype), group, ok)
                if clear:
                    w.grad = None
        return loss

    def _step_one(self, w: Tensor, g: Tensor, group: Mapping[str, Any], ok: Tensor | None) -> None:
        state = self.state[w]
        if not state:
            _check_type(w, group)
            state["step"] = torch.zeros((), dtype=torch.int64, device=w.device)
            state.update(self.initial_state(w))
        lr, decay = group["lr"], group["weight_decay"]
        coupled = group["decay"] == "coupled"
        g = coupled_decay(g, w, decay) if coupled else g
        kept = w if coupled else decoupled_decay(w, η=lr, λ=decay)
        new_w, new_state = self.apply_rule(kept, g, {**state, "step": state["step"] + 1}, group)
        w.copy_(new_w if ok is None else torch.where(ok, new_w, w))
        for name, value in new_state.items():
            if ok is None:
                state[name] = value
            else:
                state[name].copy_(torch.where(ok, value, state[name]))

    def __repr__(self) -> str:
        groups = [
            f"  {len(group['params'])} tensors: "
            + ", ".join(f"{name} {value}" for name, value in group.items() if name != "params")
            for group in self.param_groups
        ]
        return "\n".join([f"{type(self).__name__}: {self.formula}", *groups, *self._remarks()])

    def _remarks(self) -> list[str]:
        return []


def applied_steps(state: State) -> Number:
    """Returns k, the number of the step in hand, for the bias corrections."""
    k = state["step"]
    return float(k) if _is_read_at_once(k) else k.double()


def _is_read_at_once(value: Tensor) -> bool:
    # On the CPU there is nothing to wait for: reading saves passes over memory.
    return value.device.type == "cpu"


def _check_type(w: Tensor, group: Mapping[str, Any]) -> None:
    if "eps" in group and group["eps"] < torch.finfo(w.dtype).smallest_normal:
        raise SettingError(
            f"eps {group['eps']:g} is 0 in {w.dtype}: keep the weights in float32 "
            f"or give eps at least {torch.finfo(w.dtype).smallest_normal:.2g}"
        )


def check_betas(betas: tuple[float, float]) -> None:
    """Raises `SettingError` unless both decays lie in [0, 1)."""
    for index, beta in enumerate(betas):
        check_range(f"betas[{index}]", beta, low=0.0, high=1.0, high_open=True)
