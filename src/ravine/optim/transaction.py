"""A step as a transaction: norm, finite check, clip or skip, and update, together.

    transaction = Transaction(optimizer, model, clip=1.0)
    for images, labels in batches:
        transaction.begin()  # may be left out where `model(images)` is called as such
        loss = loss_fn(model(images), labels)
        loss.backward()
        transaction.step(loss, clear=True)

`decide` is the decision alone, a pure function, for loops that take the step themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.core.validation import check_choice, check_range
from ravine.optim.base import RuleOptimizer
from ravine.optim.buffer_snapshot import BufferSnapshot
from ravine.optim.clip import by_unit, by_value, norm_scale, norms, robust_limit
from ravine.optim.fused_engine import FusedSteps
from ravine.optim.step_hooks import call_post_hooks, call_pre_hooks
from ravine.optim.triton_engine import TritonSteps

ClipBy = Literal["norm", "value", "agc"]
_WAYS = ["norm", "value", "agc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is known about a step before it is taken; the host has read nothing of it.

    Attributes:
        norm: 0-dim float64, ‖g‖₂ over all parameters, before clipping.
        ok: 0-dim bool, whether loss and gradients are finite.
        bad: 0-dim int64, the index of the parameter whose gradient is not finite and which is
            nearest to the output: the first to break in the backward pass; -1 if there is none.
        scale: 0-dim float64 factor of all gradients, or None.
        gradients: clipped gradients, used instead of `.grad`, or None.
        sizes: (P,) float64, the norm of each parameter's gradient, 0 where there is none; None
            where they are computed on demand.
    """

    norm: Tensor
    ok: Tensor
    bad: Tensor
    scale: Tensor | None
    gradients: Mapping[Tensor, Tensor] | None
    sizes: Tensor | None


@torch.no_grad()
def decide(
    parameters: Sequence[Tensor],
    loss: Tensor,
    *,
    clip: float | Tensor | None = None,
    clip_by: ClipBy = "norm",
) -> Decision:
    """Returns the decision about the step that the gradients of `parameters` propose.

    Args:
        parameters: in the order of the network, from input to output; those without a gradient
            are passed over.
        loss: 0-dim.
        clip: limit of the norm (c), of each value (c), or of AGC's ratio (λ); None for no clipping.
            A limit of the norm may be a 0-dim tensor.
        clip_by: what is limited.

    Raises:
        SettingError: `clip` is not above 0, or `clip_by` is not known.
    """
    check_choice("clip_by", clip_by, _WAYS)
    _check_limit(clip)
    held = [index for index, p in enumerate(parameters) if p.grad is not None]
    sizes = torch.zeros(len(parameters), dtype=torch.float64, device=loss.device)
    if held:
        found = norms([_values(p.grad) for p in parameters if p.grad is not None])
        sizes = sizes.to(found.device).index_copy(0, torch.tensor(held, device=found.device), found)
    return _decision(parameters, loss, sizes, clip=clip, clip_by=clip_by)


def _decision(
    parameters: Sequence[Tensor],
    loss: Tensor,
    sizes: Tensor,
    *,
    clip: float | Tensor | None,
    clip_by: ClipBy,
) -> Decision:
    broken = ~sizes.isfinite()
    # The -1 in front means none, also where there are no parameters.
    indices = torch.arange(-1, len(parameters), device=sizes.device)
    bad = torch.where(torch.nn.functional.pad(broken, (1, 0)), indices, -1).max()
    norm = torch.linalg.vector_norm(sizes)
    return Decision(
        norm=norm,
        ok=loss.isfinite().all() & ~broken.any(),
        bad=bad,
        scale=norm_scale(norm, clip) if clip is not None and clip_by == "norm" else None,
        gradients=_clipped(parameters, clip, clip_by),
        sizes=sizes,
    )


def _clipped(
    parameters: Sequence[Tensor], clip: float | Tensor | None, clip_by: ClipBy
) -> dict[Tensor, Tensor] | None:
    """Returns the gradients that are not clipped by one common factor, by parameter."""
    if clip_by == "norm" or not isinstance(clip, float | int):
        return None
    if clip_by == "value":
        return {p: by_value(p.grad, clip) for p in parameters if p.grad is not None}
    # AGC leaves biases out, and the last layer.
    layers = [p for p in parameters if p.dim() > 1]
    return {p: by_unit(p, p.grad, clip) for p in layers[:-1] if p.grad is not None}


def _values(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _check_limit(clip: float | Tensor | None) -> None:
    if clip is not None and not isinstance(clip, Tensor):
        check_range("clip", clip, low=0.0, low_open=True)


@final
class AdaptiveClip:
    """A limit of the norm that follows the run: z robust deviations above the median log norm.

    A norm that is not finite is never recorded, so that none can switch the clip off.

    Args:
        z: how many σ above the median the limit lies.
        window: norms that are remembered.
        least: norms that must have been seen before anything is clipped.
    """

    def __init__(self, z: float = 4.0, *, window: int = 256, least: int = 20) -> None:
        check_range("z", z, low=0.0, low_open=True)
        check_range("window", window, low=2)
        check_range("least", least, low=2, high=window)
        self.z, self.least = z, least
        self.log_norms = torch.full((window,), torch.nan, dtype=torch.float64)
        self.seen = torch.zeros((), dtype=torch.int64)

    def limit(self) -> Tensor:
        """Returns the limit for the next step, 0-dim float64; infinite at the start."""
        return robust_limit(self.log_norms, self.seen, z=self.z, least=self.least)

    def record(self, norm: Tensor) -> None:
        """Remembers the norm of a step, 0-dim, as it was before clipping."""
        if norm.device != self.seen.device:
            self.log_norms, self.seen = self.log_norms.to(norm.device), self.seen.to(norm.device)
        index = (self.seen % len(self.log_norms)).view(1)
        counts = norm.isfinite() & (norm > 0)
        value = torch.where(counts, norm.double().log(), self.log_norms[index].squeeze())
        self.log_norms.index_copy_(0, index, value.view(1))
        self.seen += counts


@final
class Transaction:
    """Steps of an optimizer that are taken whole or not at all.

    If the loss or a gradient is not finite, weights, the optimizer's state and the model's
    buffers (batch-norm statistics) stay bitwise what they were before the step.

    Args:
        optimizer: one of this package; its gradients must have been unscaled.
        model: whose buffers are kept and whose names are used; without it, parameters are named
            by group and index, and buffers are left to the caller.
        clip: limit of the norm, of each value, or of AGC's ratio; an `AdaptiveClip`; or None.
        clip_by: what a number limits.

    Attributes:
        last: the last decision, or None before the first step.
        counts: (7,) int64 on the device; the following are views of it.
        attempted: steps so far.
        applied: steps that were taken.
        skipped: steps that were not taken.
        clipped: steps that were taken with a smaller gradient.
        streak: how many of the last steps in a row were skipped.
        first_skipped: (2,), the first skipped step, counted from 0, and the index of the
            parameter that broke it (-1: the loss did); (-1, -1) while there is none.

    Raises:
        SettingError: `clip` is not above 0, or `clip_by` is not known or does not go with it.
    """

    def __init__(
        self,
        optimizer: RuleOptimizer,
        model: nn.Module | None = None,
        *,
        clip: float | AdaptiveClip | None = None,
        clip_by: ClipBy = "norm",
    ) -> None:
        check_choice("clip_by", clip_by, _WAYS)
        if isinstance(clip, AdaptiveClip):
            if clip_by != "norm":
                raise SettingError(f"clip_by: an AdaptiveClip limits the norm, not {clip_by!r}")
        else:
            _check_limit(clip)
        self.optimizer, self._clip, self._clip_by = optimizer, clip, clip_by
        self._names = _names(optimizer, model)
        self._buffers = BufferSnapshot(model)
        self._sizes: Callable[[], Tensor] = lambda: torch.zeros(0)
        self._order = list(self._names)
        # The order is that of the kernels, which count on the device.
        self.counts = torch.tensor([0, 0, 0, 0, 0, -1, -1], device=self._order[0].device)
        self.attempted, self.applied, self.skipped, self.clipped, self.streak = self.counts[:5]
        self.first_skipped = self.counts[5:]
        self.last: Decision | None = None

    def begin(self) -> None:
        """Remembers the buffers; called before the first forward pass of a step.

        Needed only where that pass is not seen: one that is compiled, or that does not go
        through `model(...)`. Without it, such a step goes back to the end of the step before.
        """
        self._buffers.begin()

    @torch.no_grad()
    def step(self, loss: Tensor, *, clear: bool = False) -> Decision:
        """Takes the step that the gradients propose, or leaves everything as it was.

        Args:
            loss: 0-dim.
            clear: drop the gradients afterwards.
        """
        loss = loss.detach()
        limit = self._clip.limit() if isinstance(self._clip, AdaptiveClip) else self._clip
        engine = self.optimizer.gathered()
        if isinstance(engine, TritonSteps) and engine.is_complete and self._is_by_norm:
            decision = self._step_on_device(engine, loss, limit, clear=clear)
        elif isinstance(engine, FusedSteps) and engine.is_complete:
            decision = self._step_at_once(engine, loss, limit, clear=clear)
        else:
            decision = decide(self._order, loss, clip=limit, clip_by=self._clip_by)
            self.last = decision
            self.optimizer.step(
                ok=decision.ok, scale=decision.scale, gradients=decision.gradients, clear=clear
            )
            self._count(decision)
        self._buffers.restore(decision.ok)
        self._buffers.renew()
        if isinstance(self._clip, AdaptiveClip):
            self._clip.record(decision.norm)
        return decision

    @property
    def _is_by_norm(self) -> bool:
        return self._clip is None or self._clip_by == "norm"

    def tensors(self) -> dict[str, Tensor]:
        """Returns the counters, and the memory of an adaptive clip, by name; 0-dim or (n,)."""
        if isinstance(self._clip, AdaptiveClip):
            remembered = {"log_norms": self._clip.log_norms, "seen": self._clip.seen}
            return {"counts": self.counts, **remembered}
        return {"counts": self.counts}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrites the counters and the clip's memory by tensors of the same shapes.

        Raises:
            KeyError: one is missing.
        """
        for name, mine in self.tensors().items():
            mine.copy_(tensors[name])

    def sizes(self) -> Tensor:
        """Returns the norm of each parameter's gradient at the last step, before clipping.

        (P,) float64 on the device, in the order of `parameters`; the host has not read it.
        """
        if self.last is None:
            return torch.zeros(len(self._order), dtype=torch.float64)
        return self._sizes() if self.last.sizes is None else self.last.sizes

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The optimizer's parameters by name, of any shape, in the order of the network."""
        return {name: p for p, name in self._names.items()}

    def norms(self) -> dict[str, float]:
        """Returns the norm of each parameter's gradient at the last step, before clipping."""
        if self.last is None:
            return {}
        return dict(zip(self._names.values(), self.sizes().tolist(), strict=True))

    def name(self, index: int) -> str:
        """Returns the name of a parameter by its index, such as `Decision.bad`."""
        return list(self._names.values())[index]

    def report(self) -> str:
        """Returns in one line how the steps went, and which parameter broke first."""
        step, index = self.first_skipped.tolist()
        text = f"{int(self.attempted)} steps, {int(self.clipped)} clipped, "
        text += f"{int(self.skipped)} skipped"
        if step < 0:
            return text
        culprit = "the loss" if index < 0 else f"the gradient of {self.name(index)}"
        return f"{text}: first step {step}, where {culprit} was not finite"

    def _step_at_once(
        self, engine: FusedSteps, loss: Tensor, limit: float | Tensor | None, *, clear: bool
    ) -> Decision:
        """Decides and steps on the CPU, where reading costs nothing: two calls in all."""
        if call_pre_hooks(self.optimizer):
            engine.gather()  # a hook may have replaced gradients
        squares = engine.squares()
        sizes = torch.tensor([squares.get(p, 0.0) for p in self._order], dtype=torch.float64)
        decision = _decision(self._order, loss, sizes.sqrt_(), clip=limit, clip_by=self._clip_by)
        self.last = decision
        if decision.ok:
            if decision.gradients:
                engine.gather(decision.gradients)
            scale = 1.0 if decision.scale is None else float(decision.scale)
            engine.step(self.optimizer.param_groups, scale=scale)
        call_post_hooks(self.optimizer)
        if clear:
            self.optimizer.clear()
        self._count(decision)
        return decision

    def _step_on_device(
        self, engine: TritonSteps, loss: Tensor, limit: float | Tensor | None, *, clear: bool
    ) -> Decision:
        """Decides, counts and steps on the device: two launches, and the host knows nothing."""
        if call_pre_hooks(self.optimizer):
            engine.gather()
        made = engine.guarded_step(
            self.optimizer.param_groups,
            loss,
            limit=limit,
            counters=self.counts,
            order=self._order,
        )
        self._sizes = engine.sizes
        self.last = Decision(
            norm=made.norm, ok=made.ok, bad=made.bad, scale=made.scale, gradients=None, sizes=None
        )
        call_post_hooks(self.optimizer)
        if clear:
            self.optimizer.clear()
        return self.last

    def _count(self, decision: Decision) -> None:
        undone = (~decision.ok).to(torch.int64)
        first = (self.skipped == 0) & ~decision.ok
        here = torch.stack([self.attempted, decision.bad])
        self.first_skipped.copy_(torch.where(first, here, self.first_skipped))
        if decision.scale is not None:
            self.clipped += decision.ok & (decision.scale < 1)
        self.attempted += 1
        self.applied += decision.ok
        self.skipped += undone
        self.streak.copy_((self.streak + 1) * undone)


def _names(optimizer: RuleOptimizer, model: nn.Module | None) -> dict[Tensor, str]:
    """Returns the optimizer's parameters with their names, in the order of the network."""
    held = {
        p: f"group {g}, tensor {i}"
        for g, group in enumerate(optimizer.param_groups)
        for i, p in enumerate(group["params"])
    }
    if model is None:
        return held
    named: dict[Tensor, str] = {p: name for name, p in model.named_parameters() if p in held}
    return {**named, **{p: name for p, name in held.items() if p not in named}}
