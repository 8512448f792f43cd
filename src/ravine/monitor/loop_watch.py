"""What happens around the watched network: optimizers, modes, changed weights, validation.

Plain counters, filled in by hooks; nothing here reads from the device but where weights changed
between two steps, and at the first pass of a validation.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from ravine.core.nested import (
    batch_size,
    join_examples,
    map_tensors,
    pick_examples,
    tensors_in,
)
from ravine.findings.loop_record import LoopRecord, OutsideChange
from ravine.monitor.any_optimizer import AnyOptimizer
from ravine.monitor.cleared_gradients import ClearedGradients
from ravine.monitor.followed_statistics import StartingStatistics
from ravine.monitor.learning_parts import LearningParts
from ravine.monitor.seen_examples import SeenExamples
from ravine.monitor.weights_around_validation import WeightsAroundValidation

_SAMPLED, _ELEMENTS = 4, 64  # largest parameters that are compared, and elements of each
_MOST_OUTSIDE = 64
_EXAMPLES, _FEWEST, _MOST_NUMBERS = 64, 8, 1 << 21  # of a batch that is kept
_ENOUGH = 16  # examples of a pass that tell something by themselves
_MANY = 512  # examples of all parts together
_PARTS = 8  # passes of a validation, and batches of training, of which examples are kept
_SAME = 1e-6  # relative difference of weights that were put back
_MOST_WAITING = 8  # passes whose step may still come

Call = tuple[tuple[Any, ...], dict[str, Any]]


class _Pass(NamedTuple):
    """A pass with gradients: the steps before it, its arguments, and the network's mode."""

    step: int
    call: Call
    training: bool


@final
class LoopWatch:
    """Counts what happens around a network.

    Args:
        model: the network.
        optimizer: that is watched.
        parameters: of the network that the optimizer holds; all that learn where it holds none.
        is_foreign: whether it holds none.

    Attributes:
        calls: forward passes with gradients; `resting_calls` of them in evaluation mode.
        resting_from: step from which on all of them were.
        outside: changes of the weights between two steps.
        validations: by step; `elsewhere`, `in_training_mode` and `swapped` as in `LoopRecord`.
        trained: first examples of the batch of training before the last validation.
        trained_before: those of the validations before it, and these.
        validated_before: examples of the passes of the validation before the last.
        seen: examples of training, to be found again in validation.
        norms: batch norms' running statistics at the beginning.
        losses: training losses that were recorded.
        other_steps: of other optimizers; `other_optimizers` different ones.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | AnyOptimizer,
        parameters: Sequence[Tensor],
        *,
        is_foreign: bool,
    ) -> None:
        self._parameters, self._optimizer = list(parameters), optimizer
        self._ids, self._has_modes = {id(p) for p in parameters}, has_learning_modes(model)
        self._is_foreign = is_foreign
        self._others = [p for p in model.parameters() if id(p) not in self._ids]
        # Gradients of a training before, that nobody cleared.
        self._old = {id(p): (p.grad, p.grad._version) for p in self._others if p.grad is not None}
        self._held_elsewhere: set[int] = set()
        largest = sorted(self._parameters, key=lambda p: -p.numel())[:_SAMPLED]
        self._compared = [p for p in largest if p.numel()]
        self._kept: Tensor | None = None
        self._kept_others: list[Tensor] = []
        self._version, self._update, self._is_undoing = -1, math.nan, False
        self._counts_versions = False  # p.data.copy_(...) leaves them: not where that is the step
        self._last_other: Optimizer | None = None
        self._passes = self._passes_in_training = 0
        self._is_swapped = self._is_stepping = self._steps_seen = False
        self._validated_at = self._first_of = -1
        self._first: Call | None = None  # pass of a step, before those of other inputs
        self.calls = self.resting_calls = self.losses = 0
        self.other_steps = self.other_optimizers = 0
        self.resting_from: int | None = None
        self.outside, self._changed_to = list[OutsideChange](), list[Tensor]()
        self._learning = LearningParts(self._parameters)
        self._cleared, self._around = ClearedGradients(self._parameters), WeightsAroundValidation()
        self.validations = self.elsewhere = self.in_training_mode = self.swapped = 0
        self.trained: Call | None = None
        self.trained_before: list[Call] = []
        self.seen, self.norms = SeenExamples(), StartingStatistics(model)
        self.validated_before: list[Call] = []
        self._pass_sizes, self._sizes, self._trained_size = list[int](), tuple[int, ...](), 0
        self._validated: list[Call] = []
        self._handles, self._waiting = list[Any](), list[_Pass]()

    def open(self) -> None:
        """Watches all optimizers from now on."""
        self._kept_others = [_some_numbers(p) for p in self._others]
        self._handles = [
            register_optimizer_step_pre_hook(self._before_any_step),
            register_optimizer_step_post_hook(self._after_any_step),
        ]

    def close(self) -> None:
        """Watches none any more; what is kept of batches stays."""
        for handle in self._handles:
            handle.remove()
        self._count_waiting()
        self._handles, self._last_other, self._first = [], None, None

    def _before_any_step(self, *_: Any) -> None:
        # A step that is given a function calls the network on weights that it tries (L-BFGS).
        self._is_stepping = True

    def _after_any_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        self._is_stepping = False
        if self._is_watched(optimizer):
            return
        held = [id(p) for group in optimizer.param_groups for p in group["params"]]
        self._held_elsewhere.update(held)
        if held and held[0] in self._ids:
            self.other_steps += 1
            self.other_optimizers += optimizer is not self._last_other
            self._last_other = optimizer
            self.after_step()

    def _is_watched(self, optimizer: Optimizer) -> bool:
        if isinstance(self._optimizer, AnyOptimizer):
            return self._optimizer.covers(optimizer)
        return optimizer is self._optimizer

    def after_step(self) -> None:
        """Keeps a sample of the weights as the step left them."""
        self._counts_versions = not self._is_foreign
        self._count_waiting()
        self._steps_seen = True
        self._learning.after_step()
        self._cleared.after_step()
        found = self._sample()
        # Reads from the device, but only after a change from outside.
        self._update = math.nan
        if self._kept is not None and self._is_undoing:
            self._update = float((found - self._kept).norm())
        self._is_undoing = False
        self._kept, self._version = found, self._versions()

    def _versions(self) -> int:
        return sum(p._version for p in self._parameters)

    def _sample(self) -> Tensor:
        return torch.cat([_some_numbers(p) for p in self._compared])

    def _changed(self) -> float:
        """Returns how far the weights are from where the last step left them, relative."""
        if self._kept is None or (self._counts_versions and self._versions() == self._version):
            return 0.0
        now = self._sample()
        change = float((now - self._kept).norm() / self._kept.norm().clamp_min(1e-12))
        return change if change > _SAME else 0.0

    def on_training_pass(self, step: int, call: Call, *, training: bool) -> None:
        """Notices a pass with gradients: of training, if a step or another pass comes after it."""
        if len(self._waiting) >= _MOST_WAITING:
            self._count_waiting()
        self._waiting.append(_Pass(step, call, training))
        self._cleared.on_pass()
        if self._around.needs_sample and not self._is_stepping and self._compared:
            self._around.on_training_pass(self._sample(), self._kept)
        change = 0.0 if self._is_stepping else self._changed()
        if change and self._kept is not None:
            size = float(self._kept.norm()) * change
            if len(self.outside) < _MOST_OUTSIDE:
                self._note_outside(step, change, size)
            self._kept, self._version = self._sample(), self._versions()
            self._is_undoing = True
        if self._kept is None:  # of a loop that steps by hand
            self._kept, self._version = self._sample(), self._versions()

    def _note_outside(self, step: int, change: float, size: float) -> None:
        """Notes a change of the weights, relative and absolute, and where it ends."""
        now = self._sample()
        least = _SAME * float(now.norm())
        states = enumerate(self._changed_to)
        again = next((n for n, one in states if float((now - one).norm()) <= least), None)
        self._changed_to += [now] if again is None else []
        share = size / self._update if self._update else math.inf
        self.outside.append(OutsideChange(step=step, relative=change, of_update=share, again=again))

    def _count_waiting(self) -> None:
        """Counts the passes with gradients that were waiting as those of training."""
        for one in self._waiting:
            self.calls += 1
            self._trained_size = batch_size(one.call)
            self.seen.add(one.call)
            if one.step != self._first_of:
                self._first_of, self._first = one.step, one.call
            if one.training or not self._has_modes:
                self.resting_from = None
            else:
                self.resting_calls += 1
                self.resting_from = one.step + 1 if self.resting_from is None else self.resting_from
        self._waiting = []

    def on_plain_pass(self, call: Call, trained: Call | None, *, training: bool) -> None:
        """Counts a pass without gradients; keeps examples of some of those of a validation."""
        self._count_waiting()
        self._note_plain_pass(call, trained, training=training)

    def _note_plain_pass(self, call: Call, trained: Call | None, *, training: bool) -> None:
        if self._compared:
            self._around.on_plain_pass(self._sample())
        self._passes += 1
        self._passes_in_training += training and self._has_modes
        if self._passes == 1:
            self._is_swapped = self._changed() > 0
            self._pass_sizes = []
            self.validated_before, self._validated = self._validated, []
            first = self._first or trained
            if first is not None:
                self.trained = _some_examples(first)
                self.trained_before = [*self.trained_before, self.trained][-_PARTS:]
        self._pass_sizes.append(batch_size(call))
        if self._passes & (self._passes - 1) == 0:  # 1, 2, 4, 8, …
            self._validated = [*self._validated, _some_examples(call, most=_MANY)][-_PARTS:]

    @property
    def validated(self) -> Call | None:
        """Examples of the last validation, in equal parts of the passes that were kept."""
        return _joined(self._validated, most=_EXAMPLES)

    @property
    def many_validated(self) -> Call | None:
        """More of them."""
        return _joined(self._validated, most=_MANY)

    @property
    def many_before(self) -> Call | None:
        """More of the validation before the last."""
        return _joined(self.validated_before, most=_MANY)

    @property
    def validated_passes(self) -> list[Call]:
        """Examples of each pass of the last validation that was kept and has enough of them."""
        parts = [_some_examples(call) for call in self._validated]
        return [call for call in parts if batch_size(call) >= _ENOUGH]

    @property
    def many_trained(self) -> Call | None:
        """Examples of several batches of training."""
        return _joined(self.trained_before, most=_MANY)

    def keep_training(self, call: Call) -> None:
        """Keeps examples of a batch of training, where there are none yet."""
        if self.trained is None:
            self.trained = _some_examples(call)

    def _held(self) -> set[int]:
        return {id(p) for group in self._optimizer.param_groups for p in group["params"]}

    def _left_out(self) -> tuple[int, int]:
        """Returns how many numbers get gradients and no optimizer's step, and how many learn."""
        held = self._held() | self._held_elsewhere
        learning = [
            p
            for p, before in zip(self._others, self._kept_others, strict=True)
            if p.requires_grad and id(p) not in held and torch.equal(_some_numbers(p), before)
        ]
        left = [p for p in learning if self._has_new_gradient(p)]
        return sum(p.numel() for p in left), sum(p.numel() for p in self._parameters)

    def _has_new_gradient(self, p: Tensor) -> bool:
        """Returns whether a parameter has a gradient other than 0 that came during the watch."""
        if p.grad is None:
            return False
        old, version = self._old.get(id(p), (None, -1))
        is_old = p.grad is old and p.grad._version == version
        return not is_old and bool(p.grad.any())

    def record(self, steps: int, probed: Mapping[str, Any]) -> LoopRecord:
        """Returns what was seen.

        Args:
            steps: of the watched optimizer.
            probed: fields of the record that passes on kept examples gave.
        """
        self._count_waiting()
        return LoopRecord(
            steps=steps,
            is_foreign=self._is_foreign,
            losses=self.losses,
            left_out=self._left_out(),
            planned=float(self._optimizer.param_groups[0].get("initial_lr", 0.0)),
            other_steps=self.other_steps,
            other_optimizers=self.other_optimizers,
            steps_of_others=any(id(p) in self._held_elsewhere for p in self._others),
            calls=self.calls,
            resting_calls=self.resting_calls,
            resting_from=self.resting_from,
            outside=tuple(self.outside),
            kept_in=self._around.found(),
            stopped=self._learning.stopped(self._held()),
            unreached=self._learning.without_gradient(self._held()),
            uncleared=(self._cleared.left, self._cleared.known),
            validations=self.validations,
            validated=(next(iter(self._sizes), 0), len(self._sizes)),
            pass_sizes=self._sizes,
            trained=(self._trained_size, round(self.calls / max(1, steps))),
            elsewhere=self.elsewhere,
            in_training_mode=self.in_training_mode,
            swapped=self.swapped,
            **probed,
        )

    def on_loss(self, step: int, split: str) -> None:
        """Counts a recorded loss."""
        if split == "train":
            self.losses += 1
            self._count_waiting()
            return
        # A validation that forgot no_grad: passes with gradients, and no step since.
        if not self._passes and self._steps_seen:
            forgotten, self._waiting = self._waiting, []
            for one in forgotten:
                self._note_plain_pass(one.call, None, training=one.training)
        self._count_waiting()
        if step != self._validated_at:
            self._validated_at = step
            self._learning.on_validation()
            self._around.on_validation()
            self.validations += 1
            self.elsewhere += self._passes == 0
            self.swapped += self._passes > 0 and self._is_swapped
            self._sizes = tuple(self._pass_sizes) if self._passes else ()
            self.in_training_mode += 0 < self._passes == self._passes_in_training
        self._passes = self._passes_in_training = 0


def _some_numbers(p: Tensor) -> Tensor:
    """Returns numbers of a parameter (…), spread evenly over it, float32."""
    flat = p.detach().reshape(-1)
    return flat[:: max(1, len(flat) // _ELEMENTS)][:_ELEMENTS].float().clone()


def _joined(calls: Sequence[Call], *, most: int) -> Call | None:
    """Returns examples of several calls in equal parts; None without any."""
    if not calls:
        return None
    return join_examples([_some_examples(call, most=most // len(calls)) for call in calls])


def _some_examples(call: Call, *, most: int = _EXAMPLES) -> Call:
    """Returns copies of examples of a call's arguments, evenly spread over the batch."""
    size = batch_size(call)
    numbers = max((t.numel() for t in tensors_in(call)), default=0) // max(1, size)
    count = min(most, size, max(_FEWEST, _MOST_NUMBERS // max(1, numbers)))
    indices = torch.arange(count) * size // max(1, count)
    args, kwargs = pick_examples(call, indices, size=size)
    return map_tensors((args, kwargs), lambda t: t.detach().clone())


def has_learning_modes(model: nn.Module) -> bool:
    """Returns whether a layer has a mode and is not part of something frozen."""
    kinds = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
    for name, module in model.named_modules():
        if isinstance(module, kinds):
            own = list(module.parameters(recurse=False))
            around = own or list(model.get_submodule(name.rpartition(".")[0]).parameters())
            if not around or any(p.requires_grad for p in around):
                return True
    return False
