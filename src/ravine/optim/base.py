"""What all optimizers share: which path steps which parameter, and steps that may be refused.

A subclass names its state and applies its rule to one tensor; nothing else. The same rule runs
on three paths: fused, one call over all parameters in the C library (float32 on the CPU);
triton, one launch over all parameters (on a GPU); and plain, tensor by tensor in torch
(everything else). Weights and state are replaced only where
the step is allowed, so that a gradient that is not finite leaves both bitwise as they were,
without the host having to know.
"""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from ravine.core.errors import SettingError
from ravine.core.validation import check_choice, check_range
from ravine.kernels.library import load_library
from ravine.kernels.triton_library import can_step_on
from ravine.optim.fused_engine import FusedSteps
from ravine.optim.triton_engine import TritonSteps
from ravine.optim.update_rules import Number, prepared
from ravine.optim.watched_state import WatchedState

Decay = Literal["decoupled", "coupled"]
Implementation = Literal["auto", "plain", "fused", "triton"]
Path = FusedSteps | TritonSteps
State = dict[str, Tensor]


# torch's method imports the compiler when it is called, which takes a second.
_add_group = inspect.unwrap(Optimizer.add_param_group)


class RuleOptimizer(Optimizer):
    """An optimizer made of one pure rule.

    Args:
        params: parameters or groups of them.
        defaults: hyperparameters of the groups.
        implementation: plain (torch, tensor by tensor), fused (the C library, all at once, on the
            CPU), triton (one launch, on a GPU; on the CPU where Triton interprets), or auto: what
            the device has. What a path cannot step is stepped plainly.
    """

    takes_sparse = False

    def __init__(
        self, params: ParamsT, defaults: dict[str, Any], implementation: Implementation = "auto"
    ) -> None:
        check_choice("implementation", implementation, get_args(Implementation))
        self.implementation = implementation
        self._path: Path | None = None
        self._sparse: set[Tensor] = set()
        super().__init__(params, defaults)

        self.state = WatchedState({})

    def __getstate__(self) -> dict[str, Any]:
        held = super().__getstate__()
        return {**held, "state": _plain(self.state), "implementation": self.implementation}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.setdefault("implementation", "auto")
        self._path, self._sparse = None, set()
        super().__setstate__(state)

    def state_dict(self) -> dict[str, Any]:
        """Returns state and groups as torch has them, in plain dictionaries."""
        saved = super().state_dict()
        return {**saved, "state": {key: dict(slots) for key, slots in saved["state"].items()}}

    @property
    def formula(self) -> str:
        """The update of the first group, as it is shown."""
        return self.describe(self.param_groups[0])

    @abstractmethod
    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns the update as a group has it."""

    def remark(self, group: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Returns what else there is to say of a group."""
        return ""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group of parameters; what it does not say is as in the other groups.

        Raises:
            SettingError: a hyperparameter of the group is out of its range.
        """
        self.check_group({**self.defaults, **param_group})
        _add_group(self, param_group)

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Raises `SettingError` unless each hyperparameter is in its range."""
        check_range("lr", group["lr"], low=0.0, high_open=True)
        check_range("weight_decay", group["weight_decay"], low=0.0, high_open=True)
        check_choice("decay", group["decay"], ["decoupled", "coupled"])
        if "eps" in group:
            # 0 would make 0/0 of a weight that has had no gradient yet.
            check_range("eps", group["eps"], low=0.0, low_open=True, high_open=True)
            if not isinstance(group["eps_in_root"], bool):
                raise SettingError(f"eps_in_root is True or False, got {group['eps_in_root']!r}")

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

    @abstractmethod
    def variant(self, group: Mapping[str, Any]) -> str:
        """Returns the name of a group's rule in `ravine.kernels.variants`."""

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

        Raises:
            SettingError: a gradient is sparse and the rule does not take that.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if ok is None or not _is_read_at_once(ok) or bool(ok):
            waits = ok if ok is not None and not _is_read_at_once(ok) else None
            path = self.gathered(gradients)
            if isinstance(path, TritonSteps):
                path.step(self.param_groups, scale=1.0 if scale is None else scale, ok=waits)
            elif path and waits is None:
                path.step(self.param_groups, scale=1.0 if scale is None else float(scale))
            else:
                path = None
                self._prepare()
            if not path or not path.is_complete:
                self._step_plain(path.held if path else (), waits, scale, gradients)
        if clear:
            self.clear()
        return loss

    def gathered(self, gradients: Mapping[Tensor, Tensor] | None = None) -> Path | None:
        """Returns the path over what lies in memory now, None where there is only the plain one.

        Raises:
            SettingError: the path that `implementation` names is not to be had here, or a
                gradient is sparse and the rule does not take that.
        """
        path = self._current()
        if path is None:
            return None
        try:
            path.gather(gradients)
        except RuntimeError:  # a sparse gradient has no strides
            if not self._find_sparse():
                raise
            self._path = None
            return self.gathered(gradients)
        return path

    def clear(self) -> None:
        """Drops all gradients."""
        for group in self.param_groups:
            for w in group["params"]:
                w.grad = None

    def _current(self) -> Path | None:
        if self.implementation == "plain":
            return None
        state = self._watched()
        if self._path is None or not self._path.is_current(self.param_groups, state, self.variant):
            self._path = self._new_path(state)
        return self._path

    def _watched(self) -> WatchedState:
        if not isinstance(self.state, WatchedState):  # torch has put a loaded one in its place
            self.state = WatchedState(self.state)
        return self.state

    def _new_path(self, state: WatchedState) -> Path | None:
        devices = {p.device for group in self.param_groups for p in group["params"]}
        on_gpu = any(device.type == "cuda" for device in devices)
        if self.implementation == "triton" or (self.implementation == "auto" and on_gpu):
            if any(map(can_step_on, devices)):
                self._prepare()
                return TritonSteps(self.param_groups, state, self.variant, but=self._sparse)
            if self.implementation == "triton":
                raise SettingError(
                    "implementation: triton needs Triton and parameters on a GPU, got "
                    f'{", ".join(sorted(map(str, devices)))}; take "auto"'
                )
            return None
        library = load_library()
        if library is None and self.implementation == "fused":
            raise SettingError(
                "implementation: fused needs the C library, which this installation lacks; "
                'install a C compiler and then the package again, or take "auto"'
            )
        if library is None:
            return None
        self._prepare()
        return FusedSteps(library, self.param_groups, state, self.variant, but=self._sparse)

    def _prepare(self) -> None:
        """Makes the state of parameters that have their first gradient.

        A state that was loaded, or whose weights were laid out anew, is laid out like them: a
        step is the same bitwise, whichever way the state came.
        """
        self._find_sparse()
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None and not self.state[w]:
                    _check_type(w, group)
                    zero = torch.zeros((), dtype=torch.int64, device=w.device)
                    self.state[w] = {"step": zero, **self.initial_state(w)}
                for name, value in self.state[w].items() if w in self.state else ():
                    if value.shape == w.shape and value.stride() != w.stride():
                        laid_out = torch.empty_like(w, dtype=value.dtype)
                        self.state[w][name] = laid_out.copy_(value)

    def _find_sparse(self) -> bool:
        """Notes the parameters with sparse gradients; tells whether there are new ones."""
        known = len(self._sparse)
        for group in self.param_groups:
            found = {w for w in group["params"] if w.grad is not None and w.grad.is_sparse}
            if found and not self.takes_sparse:
                raise SettingError(
                    f"{type(self).__name__} takes dense gradients only; "
                    "build the embedding with sparse=False, or take AdaGrad or Momentum"
                )
            if found and group["weight_decay"]:
                raise SettingError(
                    f"weight_decay {group['weight_decay']:g} would change every row of a "
                    "parameter with sparse gradients: give it a group with weight_decay=0"
                )
            self._sparse |= found
        return len(self._sparse) > known

    def _step_plain(
        self,
        but: Collection[Tensor],
        ok: Tensor | None,
        scale: Tensor | None,
        gradients: Mapping[Tensor, Tensor] | None,
    ) -> None:
        for group in self.param_groups:
            for w in group["params"]:
                if w in but or w.grad is None:
                    continue
                g = gradients[w] if gradients and w in gradients else w.grad
                if g.is_sparse:
                    self._step_sparse(w, g.coalesce(), group, ok, scale)
                else:
                    self._step_dense(w, g, group, ok, scale)

    def _step_dense(
        self,
        w: Tensor,
        g: Tensor,
        group: Mapping[str, Any],
        ok: Tensor | None,
        scale: Tensor | None,
    ) -> None:
        coupled, λ = group["decay"] == "coupled", group["weight_decay"]
        kept, g = prepared(
            w,
            g,
            η=group["lr"],
            coupled=λ if coupled else 0.0,
            decoupled=0.0 if coupled else λ,
            scale=scale,
        )
        state = self.state[w]
        new_w, new_state = self.apply_rule(kept, g, {**state, "step": state["step"] + 1}, group)
        w.copy_(new_w if ok is None else torch.where(ok, new_w, w))
        for name, value in new_state.items():
            if ok is None:
                state[name] = value
            else:
                state[name].copy_(torch.where(ok, value, state[name]))

    def _step_sparse(
        self,
        w: Tensor,
        g: Tensor,
        group: Mapping[str, Any],
        ok: Tensor | None,
        scale: Tensor | None,
    ) -> None:
        """Takes a step with a gradient that has rows for some of the places only."""
        self._step_dense(w, g.to_dense(), group, ok, scale)

    def __repr__(self) -> str:
        lines = [type(self).__name__]
        for group in self.param_groups:
            λ = group["weight_decay"]
            decay = ", g ← g + λw first" if group["decay"] == "coupled" else ", w ← w − ηλw first"
            numbers = ", ".join(
                f"{name} {float(value) if isinstance(value, Tensor) else value}"
                for name, value in group.items()
                if name not in ("params", "param_names", "decay", "eps_in_root", "nesterov")
            )
            lines += [
                f"  {len(group['params'])} tensors: {self.describe(group)}{decay if λ else ''}",
                f"    {numbers}",
                *([f"    {self.remark(group)}"] if self.remark(group) else []),
            ]
        return "\n".join(lines)


def _plain(state: Mapping[Tensor, State]) -> Mapping[Tensor, State]:
    return state.plain() if isinstance(state, WatchedState) else state


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


def ending(group: Mapping[str, Any]) -> str:
    """Returns what a rule's name ends in for the group's place of ε."""
    return "_eps_in_root" if group["eps_in_root"] else ""


def check_betas(betas: tuple[float, float]) -> None:
    """Raises `SettingError` unless both decays lie in [0, 1)."""
    for index, beta in enumerate(betas):
        check_range(f"betas[{index}]", beta, low=0.0, high=1.0, high_open=True)
