"""The training that checks judge first: eight examples that must be overfitted.

Everything that it changed is restored.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext, layer_of
from ravine.checks.made_up_outputs import REFUSALS
from ravine.checks.parameters import make_dense_
from ravine.checks.step_modes import train_as_in_step_
from ravine.core.nested import pick_examples, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.target_floor import measured_floor
from ravine.findings.thresholds import (
    OVERFIT,
)
from ravine.nn.freezing import training_mode_
from ravine.optim.adam import Adam

_EXAMPLES = 8
_BATCHES = 4  # on which a gradient of 0 is asked again
_NARROW = 5  # units of a layer, fewer of which hold back eight examples
_TRIES = ((1e-3, 60), (1e-2, 60))  # learning rate of Adam, steps
# Steps with a gradient of 0 after which it stays 0 (branches and a head that are initialised to
# zero have all theirs at the third), and steps of waiting for a gradient.
_STAYS, _SETTLES = 3, 5
_EPS = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfit:
    """How well eight examples were overfitted.

    Attributes:
        learnt: whether they were.
        before: loss at the start.
        after: least loss.
        accuracy: at the end; None without labels.
        unmoved: layers whose weights never got a gradient other than 0, over `steps`.
        steps: most steps in a row of whose gradients that is known.
    """

    learnt: bool
    before: float
    after: float
    accuracy: float | None
    unmoved: tuple[str, ...] = ()
    steps: int = 0


@dataclass(slots=True)
class _Waiting:
    """Weights that have got no gradient other than 0 yet.

    A pass that leaves a weight out (a layer that is dropped by chance, an expert that no example
    is sent to) says nothing about it.

    Attributes:
        weights: of more than one dimension; biases follow their layers.
        zeros: by their identity, the passes in a row that used each and in which it got 0, though
            the loss had a gradient by the output.
        steps: most of them.
        stayed: weights that got 0 so often that it stays.
    """

    weights: list[Tensor]
    zeros: dict[int, int] = field(default_factory=dict)
    steps: int = 0
    stayed: set[int] = field(default_factory=set)

    def see(self) -> None:
        """Removes the weights that have a gradient now."""
        self.weights = [p for p in self.weights if not _has_gradient(p)]

    def count(self, *, has_gradient: bool) -> None:
        """Counts a pass in which the loss had a gradient by the output, or had none."""
        for p in self.weights:
            if not has_gradient:
                self.zeros[id(p)] = 0
            elif p.grad is not None:
                self.zeros[id(p)] = self.zeros.get(id(p), 0) + 1
                self.steps = max(self.steps, self.zeros[id(p)])
            if self.zeros.get(id(p), 0) >= _STAYS:
                self.stayed.add(id(p))

    @property
    def still(self) -> list[Tensor]:
        """The weights whose gradient is 0 and stays 0."""
        return [p for p in self.weights if id(p) in self.stayed]

    @property
    def least(self) -> float:
        """The least dL/d(output) that a zero says something after: products do not underflow."""
        return max((math.sqrt(torch.finfo(p.dtype).tiny) for p in self.weights), default=0.0)


def _has_gradient(p: Tensor) -> bool:
    return p.grad is not None and bool(p.grad.any())


def overfit(context: CheckContext) -> Overfit:
    """Returns how well the network overfits eight examples, with Adam of its own."""
    model = context.model
    sample = _labelled(context.samples[0])
    pair = context.measured.steps
    reached = pair.reached if pair else set()
    waiting = _Waiting(
        [
            p
            for n, p in enumerate(model.parameters())
            if p.requires_grad and p.dim() > 1 and p.numel() and n not in reached
        ]
    )
    best: Overfit | None = None
    for lr, steps in _TRIES:
        with preserve_training(model):
            train_as_in_step_(context)
            _without_dropout(model)
            found = _learn(context, sample, lr, steps, waiting)
        best = found if best is None or found.learnt or found.after < best.after else best
        if found.learnt:
            break
    assert best is not None
    still = _still_on_others(context, waiting.still)
    layers = tuple(dict.fromkeys(layer_of(model, p) for p in still))
    return replace(best, unmoved=layers, steps=waiting.steps)


def _still_on_others(context: CheckContext, still: list[Tensor]) -> list[Tensor]:
    """Returns those of the weights whose gradients are 0 on whole batches, too.

    Eight examples may all be sent past a layer.
    """
    for number, sample in enumerate(context.samples[:_BATCHES] if still else ()):
        with preserve_training(context.model), suppress(*REFUSALS), torch.enable_grad():
            training_mode_(context.model)
            torch.manual_seed(number)  # what is chosen by chance is another choice
            context.value(sample).backward()
            still = [p for p in still if not _has_gradient(p)]
        if not still:
            break
    return still


def _labelled(sample: CheckBatch) -> CheckBatch:
    """Returns a few examples, those with a label first where the loss passes over some."""
    labels = sample.labels
    if labels is None or not bool((labels < 0).any()):
        return sample.first(_EXAMPLES)
    order = (labels < 0).int().argsort(stable=True)[:_EXAMPLES]
    inputs, targets = pick_examples((sample.inputs, sample.targets), order, size=len(sample))
    return CheckBatch(inputs=inputs, targets=targets, original=sample.original)


def _without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if "Dropout" in type(module).__name__:
            module.eval()


def _learn(
    context: CheckContext, sample: CheckBatch, lr: float, steps: int, waiting: _Waiting
) -> Overfit:
    """Trains until the examples are overfitted and gradients are known, for `steps` at most."""
    learning = [p for p in context.model.parameters() if p.requires_grad]
    least = max((torch.finfo(p.dtype).tiny for p in learning), default=0.0)
    adam = Adam(learning, lr=lr, eps=max(_EPS, least))  # 1e-8 is 0 in float16
    losses: list[float] = []
    accuracy, level, learnt = None, math.nan, False
    for step in range(steps):
        output = context.output(sample)
        loss = context.loss(output, sample.targets)
        losses.append(float(loss.detach()))
        accuracy = _accuracy(context, output, sample)
        if step == 0 and accuracy is None:
            level = _learnt_below(context, output, sample, losses[0])
        if not math.isfinite(losses[-1]) or not loss.requires_grad:
            break
        learnt = learnt or _is_learnt(losses, accuracy, level)
        context.model.zero_grad()  # the optimizer's own would load torch's compiler, a second
        waiting.count(has_gradient=_backward(context.model, loss, output, waiting))
        if learnt and (not waiting.weights or step + 1 >= _SETTLES):
            break
        make_dense_(context.model.parameters())
        adam.step()
    return Overfit(learnt=learnt, before=losses[0], after=min(losses), accuracy=accuracy)


def _backward(model: nn.Module, loss: Tensor, output: object, waiting: _Waiting) -> bool:
    """Computes the gradients; returns whether the loss has a gradient by the output at all.

    Without one (examples fitted with full confidence) zeros say nothing about the layers.
    """
    outputs = [t for t in tensors_in(output) if t.requires_grad and t.dim()]
    for tensor in outputs:
        tensor.retain_grad()
    loss.backward()
    waiting.see()
    if not outputs:  # the module returns its loss
        return any(_has_gradient(p) for p in model.parameters())
    return any(t.grad is not None and float(t.grad.abs().max()) > waiting.least for t in outputs)


def _accuracy(context: CheckContext, output: object, sample: CheckBatch) -> float | None:
    logits = context.answers_of(output, sample)
    if logits is None:
        return None
    counts = (sample.targets >= 0) & (sample.targets < logits.shape[1])  # others are passed over
    right = (logits.argmax(1) == sample.targets)[counts]
    return float(right.double().mean()) if len(right) else None


def _learnt_below(context: CheckContext, output: object, sample: CheckBatch, first: float) -> float:
    """Returns the loss below which examples without labels are learnt.

    OVERFIT of the way from the first loss to the least that these targets allow. A network that
    is trained already begins below what one constant output reaches, and is held to that.
    """
    floor = measured_floor(context.loss, output, sample.targets) or 0.0
    constant = measured_floor(context.loss, output, sample.targets, alike=True) or first
    return floor + OVERFIT * (max(first, constant) - floor)


def _is_learnt(losses: list[float], accuracy: float | None, level: float) -> bool:
    if accuracy is not None:
        return accuracy == 1.0 and (len(losses) == 1 or losses[-1] < losses[0])
    return losses[-1] < level or not any(losses)  # no pair of these examples is wrong


def check_overfit(found: Overfit, model: nn.Module) -> Iterator[Finding]:
    """Yields a network that cannot learn eight examples, and layers that get only zeros.

    Of a network that is wide enough for them it is seen that it cannot, and not why: a note.
    """
    if found.unmoved:
        yield Finding(
            severity="critical",
            code="zero-gradient",
            seen=f"the gradient of {len(found.unmoved)} layers is 0 and stays 0 over "
            f"{found.steps} steps, in " + ", ".join(found.unmoved[:3]),
            cause="the units behind them are dead, or their weights are all 0",
            cure="draw random weights: ravine.nn.init_(model, 'he')",
            layer=found.unmoved[0],
            evidence={"layers": len(found.unmoved), "steps": found.steps},
            changes={"init": "he"},
        )
    if not found.learnt:
        accuracy = "" if found.accuracy is None else f", accuracy {found.accuracy:.0%}"
        width = _narrowest(model)
        is_narrow = width < _NARROW
        yield Finding(
            severity="warning" if is_narrow else "note",
            code="cannot-overfit",
            seen=f"the network cannot overfit {_EXAMPLES} examples: loss {found.before:.3g} → "
            f"{found.after:.3g}{accuracy}",
            cause=f"the network is too small: a layer has {width} units"
            if is_narrow
            else f"no layer has fewer than {width} units, so that it is not its size; cannot tell "
            "whether the loss does not fit it, or something between is broken",
            cure="make layers wider"
            if is_narrow
            else "print outputs, targets and loss of these few examples while it trains on them, "
            "and leave out terms and layers one by one",
            evidence={"before": found.before, "after": found.after, "width": float(width)},
        )


def _narrowest(model: nn.Module) -> int:
    """Returns the fewest units of a linear or convolutional layer before the last."""
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    layers = [m for m in model.modules() if isinstance(m, kinds)]
    widths = [m.out_features if isinstance(m, nn.Linear) else m.out_channels for m in layers]
    return min(widths[:-1], default=_EXAMPLES)
