"""Whether a network of several inputs reads each of them: others of one, and the outputs stay.

A network of pairs that encodes its first input twice learns from what is left. Inputs are several
tensors, or two or three of one form that are stacked along the second axis. Weights are drawn, so
that no branch that begins as 0 hides an input; the outputs must stay to rounding, in both modes,
and have no slope by it, however the inputs are scaled.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.drawn_weights import draw_weights_
from ravine.checks.inputs import standardised
from ravine.checks.made_up_outputs import REFUSALS
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding

_EXAMPLES, _FEWEST = 16, 4
_STACKED = {3: (2, 3), 4: (2,), 5: (2, 3)}  # lengths of the second axis, by dimensions
_CODES = 2  # values of a mask
_ROUNDING = 1e-6  # of the outputs' size

Change = Callable[[Any], Any]


@final
@dataclass(frozen=True, slots=True)
class _Part:
    """One of several inputs.

    Attributes:
        position: of its tensor among the inputs.
        index: along the second axis, where they are stacked.
        counts: whether it must be read; lengths and indices of examples need not.
    """

    position: int
    index: int | None = None
    counts: bool = True

    def of(self, inputs: Any) -> Tensor:
        """Returns it, (N, …)."""
        whole = tensors_in(inputs)[self.position]
        return whole if self.index is None else whole[:, self.index]

    def __str__(self) -> str:
        return f"{self.position + 1}" if self.index is None else f"[:, {self.index}]"


def find_unread(context: CheckContext) -> Iterator[Finding]:
    """Yields the first of several inputs that makes no difference to the outputs."""
    sample = context.samples[0].first(_EXAMPLES)
    parts = _parts(sample)
    if len(sample) < _FEWEST or len(parts) < 2 or not any(part.counts for part in parts):
        return
    ways: tuple[Change, ...] = (lambda inputs: inputs, standardised)
    try:
        rounds = [
            {part for part in parts if _is_unread(context, sample, change(sample.inputs), part)}
            for change in ways
        ]
    except REFUSALS:
        return  # drawn weights, or another example's input, are none that this network takes
    unread = [part for part in parts if part.counts and all(part in one for one in rounds)]
    if not unread:
        return
    first = unread[0]
    yield Finding(
        severity="warning",
        code="inputs-ignored",
        seen=f"the outputs stay the same whatever input {first} is: "
        f"{len(unread)} of {len(parts)} inputs make no difference",
        cause="another input is passed on in its place in forward() (one of a pair is encoded "
        "twice), or its result is not used",
        cure="follow each argument of forward() to the output; compare the outputs of two batches "
        "that differ in this input alone",
        evidence={"unread": float(len(unread)), "inputs": float(len(parts))},
    )


def _parts(sample: CheckBatch) -> list[_Part]:
    """Returns the inputs that differ between examples, none where they are but one."""
    tensors = [t if len(t.shape) and len(t) == len(sample) else None for t in _tensors(sample)]
    targets = tensors_in(sample.targets)  # a network may be given them for a loss of its own
    if len(tensors) > 1:
        return [
            _Part(position, counts=t.is_floating_point() or _has_twin(t, _tensors(sample)))
            for position, t in enumerate(tensors)
            if t is not None and _tells(t) and not any(_is(t, one) for one in targets)
        ]
    whole = _tensors(sample)[0]
    if not whole.is_floating_point() or whole.dim() not in _STACKED:
        return []
    pieces = list(whole.unbind(1)) if whole.shape[1] in _STACKED[whole.dim()] else []
    is_copied = any(torch.equal(pieces[0], one) for one in pieces[1:])
    return [] if is_copied else [_Part(0, k) for k, one in enumerate(pieces) if _tells(one)]


def _is(one: Tensor, other: Tensor) -> bool:
    """Returns whether two tensors of any shape are the same numbers."""
    return one.shape == other.shape and bool((one == other).all())


def _tensors(sample: CheckBatch) -> list[Tensor]:
    return tensors_in(sample.inputs)


def _has_twin(t: Tensor, tensors: list[Tensor]) -> bool:
    """Returns whether another input is of one form with it: numbers of classes, or words.

    Lengths and indices of examples (N,) stand beside what they are of.
    """
    alike = [o for o in tensors if o is not t and o.dtype == t.dtype and o.shape == t.shape]
    return bool(alike) and (t.dim() > 1 or all(o.dim() == 1 for o in tensors))


def _tells(t: Tensor) -> bool:
    """Returns whether an input (N, …) differs between examples, and is no mask."""
    is_mask = t.dtype == torch.bool or len(t.unique()) <= _CODES
    return not is_mask and bool((t != t[:1]).any())


def _is_unread(context: CheckContext, sample: CheckBatch, inputs: Any, part: _Part) -> bool:
    """Returns whether one of several inputs makes no difference to the outputs, in both modes."""
    given = replace(sample, inputs=inputs)
    other = replace(sample, inputs=_with(inputs, part, lambda t: t[:1].expand_as(t).clone()))
    with preserve_training(context.model), torch.enable_grad():
        draw_weights_(context.model)
        for training in (False, True):
            context.model.train(training)
            if not _same(_seeded(context, given), _seeded(context, other)):
                return False
        return _has_no_slope(context, given, part)


def _with(inputs: Any, part: _Part, change: Change) -> Any:
    """Returns inputs with one of them changed."""
    mine = tensors_in(inputs)[part.position]

    def changed(t: Tensor) -> Tensor:
        if t is not mine:
            return t
        if part.index is None:
            return change(t)
        whole = t.clone()
        whole[:, part.index] = change(t[:, part.index])
        return whole

    return map_tensors(inputs, changed)


def _seeded(context: CheckContext, sample: CheckBatch) -> list[Tensor]:
    """Returns the outputs of a batch, drawn as they were before; random state is the caller's."""
    torch.manual_seed(0)
    return [t.detach() for t in tensors_in(context.output(sample))]


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    """Returns whether outputs are the same to rounding, and numbers."""
    pairs = list(zip(one, other, strict=False))
    return bool(pairs) and len(one) == len(other) and all(_near(a, b) for a, b in pairs)


def _near(a: Tensor, b: Tensor) -> bool:
    """Returns whether tensors of any shape differ by rounding at most; NaN is near nothing."""
    if a.shape != b.shape or not a.numel():
        return a.shape == b.shape
    apart, size = (a.double() - b.double()).abs().max(), b.double().abs().max()
    return bool(apart <= _ROUNDING * size)


def _has_no_slope(context: CheckContext, sample: CheckBatch, part: _Part) -> bool:
    """Returns whether the outputs have no slope by an input; True of one without slopes."""
    if not part.of(sample.inputs).is_floating_point():
        return True
    leaves = list[Tensor]()

    def leaf(t: Tensor) -> Tensor:
        leaves.append(t.detach().clone().requires_grad_())
        return leaves[0]

    out = tensors_in(context.output(replace(sample, inputs=_with(sample.inputs, part, leaf))))
    made = [t for t in out if t.requires_grad]
    if not made:
        return True
    generator = torch.Generator().manual_seed(0)
    value = sum(
        ((t * torch.randn(t.shape, generator=generator).to(t)).sum() for t in made),
        start=torch.zeros(()).to(made[0]),
    )
    (slope,) = torch.autograd.grad(value, leaves, allow_unused=True)
    if slope is None:
        return True
    x = part.of(sample.inputs).double()
    size = sum(float(t.detach().double().square().sum()) for t in made) ** 0.5
    return float((slope.double() * (x - x.mean(0))).norm()) <= _ROUNDING * size
