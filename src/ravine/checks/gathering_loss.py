"""A loss that draws outputs together and nothing that keeps examples apart: all of them meet.

Two networks, or two views, whose outputs follow each other agree as well where each of them says
the same of every example, if both ends learn: a stop-gradient, a negative or a term of variance is
missing. The loss is asked on outputs that are made up; from where all are one point it must be able
to fall. A short training says whether the network can get there, which some norms do not let it.

Shape letters: N examples, D numbers of an output.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import REFUSALS
from ravine.checks.parameters import make_dense_
from ravine.checks.step_record import cosine
from ravine.checks.trained_teacher import reached_by
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding

_EXAMPLES, _FEWEST = 32, 8
_SIZES, _POINTS = (1.0, 3.0, 10.0), 3  # of outputs that are made up, and directions
_SAME = 1e-3  # of the fall of the loss
_DESCENTS, _RATE = 60, 0.05  # steps of outputs that move freely
_STEPS, _MOST = 60, 64  # of the network, and examples of each
_LR = 2e-3  # of Adam
_NEARER = 0.7  # of the variation between examples, that is left
_EQUAL = 1e-5  # of two losses
_AS_DECLARED = 0.99  # cosine of the step's gradient and the declared one


@final
@dataclass(frozen=True, slots=True)
class _Ends:
    """The outputs of a batch, and the indices of those that the loss pulls.

    Attributes:
        outputs: nested, as the network gave them.
        pulled: indices among their tensors, of which each has the shape (N, D).
        targets: of the batch.
    """

    outputs: Any
    pulled: tuple[int, ...]
    targets: Any

    def parts(self) -> list[Tensor]:
        """Returns the tensors (N, D) that are pulled, detached."""
        tensors = tensors_in(self.outputs)
        return [tensors[index].detach() for index in self.pulled]

    def value(self, context: CheckContext, parts: Sequence[Tensor]) -> Tensor:
        """Returns the loss (0-dim) with other tensors in the place of those that are pulled."""
        given = dict(zip(self.pulled, parts, strict=True))
        indices = iter(range(len(tensors_in(self.outputs))))
        made = map_tensors(
            self.outputs, lambda t: given[at] if (at := next(indices)) in given else t.detach()
        )
        return context.loss(made, self.targets)


def find_gathering(context: CheckContext) -> Iterator[Finding]:
    """Yields a loss whose least value is that of one output for all examples, and draws there."""
    sample = context.samples[0].first(_EXAMPLES)
    if len(sample) < _FEWEST or _reads_targets(context):
        return
    try:
        with preserve_training(context.model), torch.enable_grad():
            context.model.train()
            ends = _ends(context, sample)
            if ends is None or not _is_as_declared(context):
                return
            together, now = _gathered(context, ends)
            if not together < now - _SAME * abs(now) or _falls_below(context, ends, together):
                return
            left = _left_apart(context, sample, ends)
    except REFUSALS:
        return
    if left < _NEARER:
        yield _gathers(together, now, left)


def _ends(context: CheckContext, sample: CheckBatch) -> _Ends | None:
    """Returns the outputs that the loss pulls, where it asks nothing else of a batch."""
    outputs = context.output(sample)
    tensors = tensors_in(outputs)
    learning = [n for n, t in enumerate(tensors) if t.requires_grad]
    leaves = {n: tensors[n].detach().clone().requires_grad_() for n in learning}
    if not leaves:
        return None
    value = _Ends(outputs, tuple(leaves), sample.targets).value(context, list(leaves.values()))
    slopes = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    reached = zip(learning, slopes, strict=True)
    pulled = tuple(n for n, s in reached if s is not None and bool(s.any()))
    shapes = {tensors[n].shape for n in pulled}
    if len(shapes) != 1 or not all(_are_rows(tensors[n], sample) for n in pulled):
        return None
    found = _Ends(outputs, pulled, sample.targets)
    if _of_two_networks(context, [tensors[n] for n in pulled]) or _asks_more(context, found):
        return None
    return found


def _of_two_networks(context: CheckContext, parts: Sequence[Tensor]) -> bool:
    """Returns whether two outputs share no weights: `check_teacher` names a pair that learns."""
    each = [one for part in parts for one in (part.unbind(1) if part.dim() > 2 else [part])]
    reached = [reached_by(context, one, is_cut=True) for one in each]
    return any(not one & other for one, other in itertools.combinations(reached, 2))


def _are_rows(out: Tensor, sample: CheckBatch) -> bool:
    """Returns whether an output is (N, D), or both views in one: (2N, D), or (N, 2, D)."""
    shape = [len(out), *out.shape[1:]] if out.dim() else [0]
    n = len(sample)
    return shape[-1] > 1 and shape[:-1] in ([n], [2 * n], [n, 2])


def _reads_targets(context: CheckContext) -> bool:
    """Returns whether the loss of the outputs that are known is another for other targets."""
    outputs, targets = context.measured.outputs, context.measured.targets
    try:
        with torch.no_grad():
            asked = (targets, map_tensors(targets, _of_another))
            one, other = (float(context.loss(outputs, t)) for t in asked)
    except REFUSALS:
        return False
    return not abs(one - other) <= _EQUAL * abs(one)


def _of_another(t: Tensor) -> Tensor:
    """Returns a tensor (N, …) in which each example has what belongs to another."""
    return t.roll(1, 0) if t.dim() else t


def _asks_more(context: CheckContext, ends: _Ends) -> bool:
    """Returns whether the loss reads targets, or outputs that it does not pull."""
    pulled = set(ends.pulled)
    indices = iter(range(len(tensors_in(ends.outputs))))
    others = map_tensors(
        ends.outputs, lambda t: t.detach() if next(indices) in pulled else _of_another(t.detach())
    )
    turned = _Ends(others, ends.pulled, map_tensors(ends.targets, _of_another))
    with torch.no_grad():
        one, other = (float(e.value(context, e.parts())) for e in (ends, turned))
    return not abs(one - other) <= _EQUAL * abs(one)


def _is_as_declared(context: CheckContext) -> bool:
    """Returns whether the step, if there is one, follows the declared loss: it may detach ends."""
    pair = context.measured.steps
    if pair is None:
        return True
    if pair.first.optimizer is None or pair.first.has_closure or pair.first.calls > 1:
        return False
    return cosine(pair.first.gradients, pair.declared) > _AS_DECLARED


def _gathered(context: CheckContext, ends: _Ends) -> tuple[float, float]:
    """Returns the loss of one output for all examples, and that of the network's.

    NaN where it is another one for another point: such a loss asks for that one.
    """
    parts, values = ends.parts(), list[list[float]]()
    rows = F.normalize(parts[0].flatten(0, -2)[:_POINTS], dim=1)
    with torch.no_grad():
        for point in (*rows, *-rows):
            made = [[size * point.expand_as(p).clone() for p in parts] for size in _SIZES]
            values.append([float(ends.value(context, one)) for one in made])
        now = float(ends.value(context, parts))
    least = [min(one) for one in values]
    is_one = max(least) - min(least) <= _SAME * max(abs(now - min(least)), 1e-12)
    return (min(least) if is_one else math.nan), now


def _falls_below(context: CheckContext, ends: _Ends, together: float) -> bool:
    """Returns whether outputs that move freely get below the loss of one output for all."""
    parts = ends.parts()
    generator = torch.Generator().manual_seed(0)
    point = F.normalize(parts[0].flatten(0, -2)[:1], dim=1)
    noise = torch.randn(parts[0].shape, generator=generator).to(point) / point.shape[1] ** 0.5
    starts = (parts, [noise.clone() for _ in parts], [point + 0.1 * noise.roll(n, 0)
              for n in range(len(parts))])  # fmt: skip
    slack = _SAME * max(1e-3, abs(together))
    for start in starts:
        free = [p.clone().requires_grad_() for p in start]
        adam = torch.optim.Adam(free, lr=_RATE)
        for _ in range(_DESCENTS):
            value = ends.value(context, free)
            if float(value.detach()) < together - slack:
                return True
            adam.zero_grad()
            value.backward()
            adam.step()
    return False


def _left_apart(context: CheckContext, sample: CheckBatch, ends: _Ends) -> float:
    """Returns how much of the outputs' variation between examples a short training leaves."""
    learning = [p for p in context.model.parameters() if p.requires_grad]
    adam = torch.optim.Adam(learning, lr=_LR)

    def apart() -> tuple[float, float]:
        with torch.no_grad():
            return _apart(tensors_in(context.output(sample))[ends.pulled[0]])

    before = apart()
    for step in range(_STEPS):
        batch = context.samples[step % len(context.samples)]
        loss = context.value(batch.first(_MOST))
        if not bool(loss.isfinite()):
            break
        adam.zero_grad()
        loss.backward()
        make_dense_(learning)
        adam.step()
    return min(now / max(then, 1e-30) for now, then in zip(apart(), before, strict=True))


def _apart(out: Tensor) -> tuple[float, float]:
    """Returns the variance between rows (…, D): of the directions, and of the outputs."""
    out = out.double().flatten(0, -2)
    directions = F.normalize(out, dim=1)
    return 1 - float(directions.mean(0).square().sum()), float(out.var(0).mean())


def _gathers(together: float, now: float, left: float) -> Finding:
    return Finding(
        severity="warning",
        code="outputs-collapsed",
        seen=f"the loss is {now:.4g}, and its least value, {together:.4g}, that of one output for "
        f"all examples; a short training leaves {left:.0%} of their variation between examples",
        cause="the loss draws outputs together, both of its ends learn, and nothing keeps the "
        "outputs of different examples apart: a stop-gradient is missing, or negatives, or a term "
        "of variance",
        cure="detach the target branch (z.detach(), and keep the predictor), or add negatives or "
        "a variance term; watch the standard deviation of the outputs",
        evidence={"together": together, "now": now, "left": left},
    )
