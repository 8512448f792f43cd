"""Terms of a loss of which one drowns another: what the network learns with and without it.

`loss_terms.py` gives the terms. Those that depend on the targets are what is to be learnt; where
the others' gradient is far larger in the weights that both move, the network trains for some steps
on the whole loss and for as many on these terms alone, from one state. How much higher they are
with the targets of other examples is what was learnt of the inputs; an answer that is the same for
all of them learns nothing so. A small term is no fault: a penalty is meant to be small.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.loss_terms import terms_of
from ravine.checks.made_up_outputs import REFUSALS
from ravine.checks.parameters import make_dense_
from ravine.core.nested import batch_size, map_tensors
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import DROWNED_GAIN, DROWNS
from ravine.nn.freezing import training_mode_
from ravine.optim.adam import Adam

_EXAMPLES, _STEPS, _FEWEST, _SECONDS = 32, 60, 20, 2.0
_LR = 2e-3  # of Adam
_ASKED = 4  # batches after them
_LEARNABLE = 0.02  # of the terms' first value, that must be learnt without the others


def check_terms(context: CheckContext) -> Iterator[Finding]:
    """Yields a term that keeps the network from learning those that depend on the targets."""
    if context.measured.penalty is not None or not _has_terms(context):
        return  # check_decay says of penalties of the weights
    sample = context.samples[0].first(_EXAMPLES)
    try:
        with preserve_training(context.model):
            training_mode_(context.model)
            found = _terms(context, sample)
            others = _terms(context, _reordered(sample)) if len(found) > 1 else []
        if len(found) < 2 or len(found) != len(others):
            return
        targeted = [not torch.isclose(a, b, rtol=1e-5) for a, b in zip(found, others, strict=True)]
        if all(targeted) or not any(targeted):
            return
        with preserve_training(context.model):
            training_mode_(context.model)
            began = time.monotonic()
            ratio = _ratio(context, _terms(context, sample), targeted)
            seconds = time.monotonic() - began
        steps = min(_STEPS, int(_SECONDS / 2 / max(seconds, 1e-6)))
        if ratio < DROWNS or steps < _FEWEST:
            return
        first, whole = _learnt(context, targeted, steps, alone=False)
        _, alone = _learnt(context, targeted, steps, alone=True)
    except REFUSALS:
        return
    if alone > _LEARNABLE * abs(first) and whole < DROWNED_GAIN * alone:
        yield _drowned(ratio, whole, alone, steps)


def _has_terms(context: CheckContext) -> bool:
    """Returns whether the loss of the outputs that were measured is a sum, without another pass."""
    size = batch_size(context.measured.outputs)
    if not size:
        return False
    outputs = map_tensors(
        context.measured.outputs,
        lambda t: t.clone().requires_grad_() if t.is_floating_point() else t,
    )
    try:
        return len(terms_of(context.loss, outputs, context.samples[0].first(size).targets)) > 1
    except REFUSALS:
        return False


def _drowned(ratio: float, whole: float, alone: float, steps: int) -> Finding:
    return Finding(
        severity="warning",
        code="task-drowned",
        seen=f"the terms of the loss that do not depend on the targets have {ratio:.3g} times the "
        f"gradient of those that do; after {steps} steps these are higher by {whole:.2g} with the "
        f"targets of other examples, and by {alone:.2g} after {steps} steps on them alone",
        cause="the terms of the loss are of very unequal size: a sum beside a mean (over the "
        "batch, over pixels), or a weight that is far too large",
        cure="reduce all terms alike (sum over an example's numbers, mean over the batch), and "
        "weight what regularises by less",
        evidence={"ratio": ratio, "with": whole, "without": alone},
    )


def _terms(context: CheckContext, sample: CheckBatch) -> list[Tensor]:
    """Returns the terms of the loss of a batch, with one random draw for any targets."""
    with torch.random.fork_rng(devices=[]):
        return list(terms_of(context.loss, context.output(sample), sample.targets))


def _reordered(sample: CheckBatch) -> CheckBatch:
    """Returns a batch whose targets belong to other examples."""
    size = len(sample)
    targets = map_tensors(
        sample.targets, lambda t: t.roll(1, 0) if t.dim() and len(t) == size else t
    )
    return replace(sample, targets=targets)


def _ratio(context: CheckContext, terms: Sequence[Tensor], targeted: Sequence[bool]) -> float:
    """Returns the gradient of the other terms over that of those that depend on the targets.

    In the weights that both move; 0 where there are none.
    """
    weights = [p for p in context.model.parameters() if p.requires_grad]
    sums = [
        sum(t for t, is_targeted in zip(terms, targeted, strict=True) if is_targeted == of)
        for of in (1, 0)
    ]
    slopes = [
        torch.autograd.grad(one, weights, retain_graph=True, allow_unused=True)
        for one in sums
        if isinstance(one, Tensor)
    ]
    both = [(a, b) for a, b in zip(*slopes, strict=True) if a is not None and b is not None]
    norms = [sum(float(pair[k].double().square().sum()) for pair in both) ** 0.5 for k in (0, 1)]
    return norms[1] / norms[0] if norms and norms[0] > 0 else 0.0


def _learnt(
    context: CheckContext, targeted: Sequence[bool], steps: int, *, alone: bool
) -> tuple[float, float]:
    """Returns the terms that depend on the targets at first, and what some steps learn of them.

    That is how much higher they are with the targets of other examples. All is put back.

    Args:
        context: of the checks.
        targeted: which terms depend on the targets.
        steps: of Adam.
        alone: whether the others are left out.
    """
    weights = [p for p in context.model.parameters() if p.requires_grad]
    samples = [one.first(_EXAMPLES) for one in context.samples]
    with preserve_training(context.model):
        training_mode_(context.model)
        first = _asked(context, samples[0], targeted)[0]
        adam = Adam(weights, lr=_LR)
        for step in range(steps):
            asked, whole = _asked(context, samples[step % len(samples)], targeted)
            context.model.zero_grad()
            (asked if alone else whole).backward()
            make_dense_(context.model.parameters())
            adam.step()
        higher = [
            float(
                (
                    _asked(context, _reordered(one), targeted)[0]
                    - _asked(context, one, targeted)[0]
                ).detach()
            )
            for one in samples[:_ASKED]
        ]
    return float(first.detach()), sum(higher) / len(higher)


def _asked(
    context: CheckContext, sample: CheckBatch, targeted: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """Returns the sum of the terms that depend on the targets, and that of all."""
    terms = _terms(context, sample)
    if len(terms) != len(targeted):
        raise ValueError("the loss has other terms on another batch")
    asked = [t for t, is_targeted in zip(terms, targeted, strict=True) if is_targeted]
    return torch.stack(asked).sum(), torch.stack(terms).sum()
