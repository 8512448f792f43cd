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
from ravine.optim.rules import coupled_decay, decoupled_decay

Decay = Literal["decoupled", "coupled"]
State = dict[str, Tensor]


class RuleOptimizer(Optimizer):
    """An optimizer made of one pure rule."""

    #: The update, as it is shown.
    formula: str = ""

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        check_range("lr", defaults["lr"], low=0.0, high_open=True)
        check_range("weight_decay", defaults["weight_decay"], low=0.0, high_open=True)
        check_choice("decay", defaults["decay"], ["decoupled", "coupled"])
        super().__init__(params, defaults)

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
        if ok is not None and ok.device.type == "cpu":
            # On the CPU there is nothing to wait for: the answer is read, and saves two passes.
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


def check_betas(betas: tuple[float, float]) -> None:
    """Raises `SettingError` unless both decays lie in [0, 1)."""
    for index, beta in enumerate(betas):
        check_range(f"betas[{index}]", beta, low=0.0, high=1.0, high_open=True)
