"""The base of all optimizers: groups, state, and steps that may be refused.

A subclass declares its state and its options and applies its rule to one tensor; nothing else.
Three step engines run the same rule: fused, one call over all parameters in the C library
(float32 on the CPU); triton, one launch over all parameters (on a GPU); and plain, tensor by
tensor in torch (everything else). Weights and state are replaced only where the step is allowed,
so that a gradient that is not finite leaves both bitwise as they were, and the host need not
know.
"""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from ravine.core.errors import SettingError
from ravine.core.validation import check_choice
from ravine.optim.decay import Decay
from ravine.optim.hyperparameters import check_hyperparameters
from ravine.optim.saved_state import check_saved_state
from ravine.optim.step_engine import Implementation, StepEngine, build_engine, engine_kind
from ravine.optim.triton_engine import TritonSteps
from ravine.optim.update_rules import Number, prepared
from ravine.optim.watched_state import WatchedState

State = dict[str, Tensor]
EPS_IN_ROOT: Mapping[str, tuple[Any, ...]] = {"eps_in_root": (True, False)}


# torch's method imports the compiler when it is called, which takes a second.
_add_group = inspect.unwrap(Optimizer.add_param_group)


class RuleOptimizer(Optimizer):
    """An optimizer made of one pure rule.

    Args:
        params: parameters or groups of them.
        own: the hyperparameters of this rule, the learning rate among them.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
        implementation: plain (torch, tensor by tensor), fused (the C library, all at once, on the
            CPU), triton (one launch, on a GPU; on the CPU where Triton interprets), or auto: what
            the device has. Parameters that an engine cannot step are stepped plainly.

    Attributes:
        accepts_sparse: whether the rule accepts sparse gradients.
        state_slots: names of the tensors of the state that have the weights' shape.
        keeps_momentum_product: whether the state also has the product of the momenta so far.
        options: the hyperparameters that are no numbers, with all their values. `make kernels`
            writes a variant for each combination.
        by_element: whether a weight's step depends on its own past alone. Kernels and pages are
            written of such rules only.
        rates_in_proportion: whether the groups' steps are of different kinds, so that only their
            learning rates' ratios mean something.
    """

    accepts_sparse: ClassVar[bool] = False
    state_slots: ClassVar[tuple[str, ...]] = ()
    keeps_momentum_product: ClassVar[bool] = False
    options: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    by_element: ClassVar[bool] = True
    rates_in_proportion: ClassVar[bool] = False

    def __init__(
        self,
        params: ParamsT,
        own: dict[str, Any],
        weight_decay: float,
        decay: Decay,
        implementation: Implementation,
    ) -> None:
        check_choice("implementation", implementation, get_args(Implementation))
        self.implementation = implementation
        self._engine: StepEngine | None = None
        self._sparse: set[Tensor] = set()
        super().__init__(params, {**own, "weight_decay": weight_decay, "decay": decay})

        self.state = WatchedState({})

    def __getstate__(self) -> dict[str, Any]:
        held = super().__getstate__()
        return {**held, "state": _plain(self.state), "implementation": self.implementation}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.setdefault("implementation", "auto")
        self._engine, self._sparse = None, set()
        super().__setstate__(state)

    def state_dict(self) -> dict[str, Any]:
        """Returns state and groups as torch has them, in plain dictionaries."""
        saved = super().state_dict()
        return {**saved, "state": {key: dict(slots) for key, slots in saved["state"].items()}}

    @classmethod
    def arranged(
        cls,
        model: nn.Module,  # noqa: ARG003
        groups: list[dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """Returns a network's groups as this rule wants them; most take them as they are."""
        return groups

    @property
    def formula(self) -> str:
        """The update of the first group, as `repr` shows it."""
        return self.describe(self.param_groups[0])

    @abstractmethod
    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns a group's update as a formula."""

    def remark(self, group: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Returns a remark about a group, such as its equivalent in torch; may be empty."""
        return ""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group of parameters; a hyperparameter that it lacks is that of the constructor.

        Raises:
            SettingError: a hyperparameter of the group is out of its range.
        """
        self.check_group({**self.defaults, **param_group})
        _add_group(self, param_group)

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Raises `SettingError` unless each hyperparameter is in its range."""
        check_hyperparameters(group, self.options)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Replaces the state by a saved one, by position, in the types it was saved in.

        torch's own method would cast it to the weights' type and share its tensors.

        Raises:
            SettingError: it is no state of an optimizer, is one of another rule or of torch
                (`load_torch_state` converts it), or a tensor of it has not the shape of its
                parameter.
            ValueError: the groups differ in number or size.
        """
        held = [p for group in self.param_groups for p in group["params"]]
        saved, values = check_saved_state(
            type(self).__name__, self.defaults, held, state_dict, self.initial_state
        )
        super().load_state_dict(state_dict)
        for p, index in zip(held, saved, strict=True):
            kept = values.get(index, {})
            self.state[p] = {k: value.to(p.device, copy=True) for k, value in kept.items()}

    def initial_state(self, w: Tensor, group: Mapping[str, Any]) -> State:  # noqa: ARG002
        """Returns the state of a parameter before its first step, without the step count.

        Zeros of the shape and type of `w`, and the empty product of the momenta, 1, 0-dim float64.
        """
        state = {slot: torch.zeros_like(w) for slot in self.state_slots}
        if self.keeps_momentum_product:
            state["mu_product"] = torch.ones((), dtype=torch.float64, device=w.device)
        return state

    @abstractmethod
    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Returns the new weights and the new state; w, g and the slots have one shape.

        `state["step"]` is already k, the number of this step.
        """

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
        """Takes one step and returns the closure's loss, or None without a closure.

        Args:
            closure: evaluates the model again and returns the loss, as in torch.
            ok: 0-dim bool tensor on the device; where False weights and state stay bitwise
                what they were. The host does not read it.
            scale: 0-dim tensor, factor of the gradients; `.grad` itself is left alone.
            gradients: used in place of `.grad` for the parameters that it holds; each of its
                parameter's shape.
            clear: drop the gradients afterwards.

        Raises:
            SettingError: a gradient is sparse and the rule does not accept that.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if ok is not None and not _is_read_at_once(ok):
            self._step_all(ok, scale, gradients)
        elif ok is None or bool(ok):
            self._step_all(None, scale, gradients)
        if clear:
            self.clear()
        return loss

    def _step_all(
        self, ok: Tensor | None, scale: Tensor | None, gradients: Mapping[Tensor, Tensor] | None
    ) -> None:
        """Steps by the engine the parameters that it holds, and the rest tensor by tensor."""
        engine = self.gathered(gradients)
        if isinstance(engine, TritonSteps):
            engine.step(self.param_groups, scale=1.0 if scale is None else scale, ok=ok)
        elif engine and ok is None:
            engine.step(self.param_groups, scale=1.0 if scale is None else float(scale))
        else:
            engine = None
            self._prepare()
        if not engine or not engine.is_complete:
            self._step_plain(engine.held if engine else (), ok, scale, gradients)

    def gathered(self, gradients: Mapping[Tensor, Tensor] | None = None) -> StepEngine | None:
        """Returns the engine with its gradients gathered; None for steps tensor by tensor.

        Gradients have the shapes of their parameters; without `gradients` they are `.grad`.

        Raises:
            SettingError: the engine that `implementation` names does not exist here, or a
                gradient is sparse and the rule does not accept that.
        """
        engine = self._current_engine()
        if engine is None:
            return None
        try:
            engine.gather(gradients)
        except RuntimeError:  # a sparse gradient has no strides
            if not self._find_sparse():
                raise
            self._engine = None
            return self.gathered(gradients)
        return engine

    def clear(self) -> None:
        """Drops all gradients."""
        for group in self.param_groups:
            for w in group["params"]:
                w.grad = None

    def _current_engine(self) -> StepEngine | None:
        if self.implementation == "plain":
            return None
        state = self._watched()
        if self._engine is None or not self._engine.is_current(self.param_groups, state):
            self._engine = self._new_engine(state)
        return self._engine

    def _watched(self) -> WatchedState:
        if not isinstance(self.state, WatchedState):  # torch replaces it when it loads a state
            self.state = WatchedState(self.state)
        return self.state

    def _new_engine(self, state: WatchedState) -> StepEngine | None:
        devices = {p.device for group in self.param_groups for p in group["params"]}
        kind = engine_kind(self.implementation, devices)
        if kind is None:
            return None
        self._prepare()
        return build_engine(kind, self.param_groups, state, self.variant, excluded=self._sparse)

    def _prepare(self) -> None:
        """Creates the state of parameters that have their first gradient.

        A state that was loaded, or whose weights were laid out anew, gets the weights' layout: a
        step is the same bitwise, wherever the state came from.
        """
        self._find_sparse()
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None and not self.state[w]:
                    _check_type(w, group)
                    zero = torch.zeros((), dtype=torch.int64, device=w.device)
                    self.state[w] = {"step": zero, **self.initial_state(w, group)}
                for name, value in self.state[w].items() if w in self.state else ():
                    if value.shape == w.shape and value.stride() != w.stride():
                        laid_out = torch.empty_like(w, dtype=value.dtype)
                        self.state[w][name] = laid_out.copy_(value)

    def _find_sparse(self) -> bool:
        """Records the parameters with sparse gradients; returns whether there are new ones."""
        known = len(self._sparse)
        for group in self.param_groups:
            found = {w for w in group["params"] if w.grad is not None and w.grad.is_sparse}
            if found and not self.accepts_sparse:
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
        excluded: Collection[Tensor],
        ok: Tensor | None,
        scale: Tensor | None,
        gradients: Mapping[Tensor, Tensor] | None,
    ) -> None:
        for group in self.param_groups:
            for w in group["params"]:
                if w in excluded or w.grad is None:
                    continue
                g = gradients[w] if gradients and w in gradients else w.grad
                dense = g.coalesce().to_dense() if g.is_sparse else g
                self._step_tensor(w, dense, group, ok, scale)

    def _step_tensor(
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
    """Returns k, the number of this step, for the bias corrections."""
    k = state["step"]
    return float(k) if _is_read_at_once(k) else k.double()


def _is_read_at_once(value: Tensor) -> bool:
    # On the CPU nothing waits: reading the value saves passes over memory.
    return value.device.type == "cpu"


def _check_type(w: Tensor, group: Mapping[str, Any]) -> None:
    if "eps" in group and group["eps"] < torch.finfo(w.dtype).smallest_normal:
        raise SettingError(
            f"eps {group['eps']:g} is 0 in {w.dtype}: keep the weights in float32 "
            f"or give eps at least {torch.finfo(w.dtype).smallest_normal:.2g}"
        )
