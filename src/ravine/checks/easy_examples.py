"""Steps and losses that train on the examples with the smallest losses, and leave out the others.

Seen from what they compute: an example counts where the loss has a slope at its output, or where it
is sent through at all. Those that count are the ones with the smallest losses, one and all. Hard
examples that are chosen (the largest losses) are meant; easy ones are where labels are wrong and
the network knows most of them already.

Shape letters: N examples.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch, logits_of
from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import REFUSALS, value_of
from ravine.checks.step_record import StepPair, cosine
from ravine.core.nested import tensors_in
from ravine.core.preserve_tensors import preserve_tensors
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding

_ALIKE = 0.999  # cosine of the step's gradient with that of all examples
_CERTAIN = math.log(1e6)  # ways to choose as many of the batch, of which this is one
_BATCHES = 2
_KNOWS = 0.5  # share of right answers, from which on a choice by the loss may be meant
_MOST = 512  # examples of a batch


@dataclass(slots=True)
class _Passes:
    """What a step sends through: the first output of all examples, and which of them count."""

    out: Tensor | None = None
    heard: Tensor | None = None
    slopes: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """Of N examples, those that count, their mean loss and that of the others, and right answers.

    Attributes:
        count: N.
        kept: that count.
        losses: mean loss of those, and of the others.
        right: share of right answers among all; NaN where there are no labels.
    """

    count: int
    kept: int
    losses: tuple[float, float]
    right: float


def find_easy_in_step(context: CheckContext, pair: StepPair) -> Iterator[Finding]:
    """Yields a step that trains on the easiest examples of its batch alone."""
    first = pair.first
    if first.calls > 1 or not pair.declared or cosine(first.gradients, pair.declared) > _ALIKE:
        return
    found: list[_Choice] = []
    for sample in context.samples[:_BATCHES]:
        passes = _watched(context, pair, sample)
        if passes is None or passes.out is None or passes.heard is None:
            return
        choice = _choice_of(context, passes.out, passes.heard, sample)
        if choice is None:
            return
        found.append(choice)
    if found:
        yield _finding("step", found)


def find_easy_in_loss(context: CheckContext) -> Iterator[Finding]:
    """Yields a loss that has slopes at the outputs of the easiest examples alone."""
    out = context.measured.output
    if out is None or len(tensors_in(context.measured.outputs)) != 1:
        return
    sample = context.samples[0].first(len(out))
    asked = out.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(context.loss(asked, sample.targets), asked)
    except REFUSALS:
        return
    choice = _choice_of(context, out, _is_heard([slope]), sample)
    if choice is not None:
        yield _finding("loss", [choice])


def _watched(context: CheckContext, pair: StepPair, sample: CheckBatch) -> _Passes | None:
    """Returns what the step sends through of a batch; all is put back, None where it raises."""
    assert context.step is not None
    if context.optimizer not in (None, pair.first.optimizer):
        return None
    found = _Passes()
    given = tensors_in((sample.original, sample.inputs, sample.targets))
    handle = context.model.register_forward_hook(_keeper(found, sample))
    try:
        with preserve_training(context.model, pair.first.optimizer), preserve_tensors(given):
            context.step(sample.original)
    except Exception:  # the user's step, which ran before without being watched so closely
        return None
    finally:
        handle.remove()
    if found.slopes:
        found.heard = _is_heard(found.slopes)
    return found


def _is_heard(slopes: Sequence[Tensor]) -> Tensor:
    """Returns which examples have a slope other than 0 in one of some tensors (N, …)."""
    each = [one.reshape(len(one), -1).ne(0).any(1) for one in slopes]
    return torch.stack(each).any(0)


def _keeper(found: _Passes, sample: CheckBatch) -> Any:
    size, batch = len(sample), tensors_in(sample.inputs)[0]

    def keep(_module: Any, args: Any, out: Any) -> None:
        if not isinstance(out, Tensor) or not out.dim() or found.heard is not None:
            return
        is_learning = torch.is_grad_enabled() and out.requires_grad
        if len(out) == size and found.out is None:
            found.out = out.detach().clone()
            if is_learning:
                out.register_hook(lambda slope: found.slopes.append(slope.detach().clone()))
        elif is_learning and found.out is not None and len(out) < size:
            sent = tensors_in(args)
            found.heard = _among(sent[0], batch) if sent else None

    return keep


def _among(sent: Tensor, batch: Tensor) -> Tensor | None:
    """Returns which examples (N, …) are among those sent (n, …); None where not all are."""
    if sent.shape[1:] != batch.shape[1:]:
        return None
    rows = {one.tobytes() for one in sent.detach().cpu().contiguous().numpy()}
    own = [one.tobytes() in rows for one in batch.detach().cpu().contiguous().numpy()]
    heard = torch.tensor(own, device=batch.device)
    return heard if int(heard.sum()) == len(sent) else None


def _choice_of(
    context: CheckContext, out: Tensor, heard: Tensor, sample: CheckBatch
) -> _Choice | None:
    """Returns the choice of examples where it is that of the smallest losses, else None."""
    targets, count, kept = sample.targets, len(out), int(heard.sum())
    if not isinstance(targets, Tensor) or targets.shape[:1] != out.shape[:1] or count > _MOST:
        return None
    ways = math.lgamma(count + 1) - math.lgamma(kept + 1) - math.lgamma(count - kept + 1)
    if not 0 < kept < count or ways < _CERTAIN:
        return None
    # Twice each, so that a loss which leaves a half of them out has one to keep.
    pairs = [[n, n] for n in range(count)]
    losses = torch.tensor(
        [value_of(context.loss, out[two], targets[two]) for two in pairs], device=heard.device
    )
    if not bool(losses.isfinite().all()) or losses[heard].max() > losses[~heard].min():
        return None
    if len(losses[~heard].unique()) == 1:
        return None  # the loss has a bound, as robust ones have against outliers
    logits = logits_of(out, sample)
    right = math.nan
    if logits is not None:
        right = float((logits.argmax(1) == targets).double().mean())
    means = float(losses[heard].mean()), float(losses[~heard].mean())
    return _Choice(count=count, kept=kept, losses=means, right=right)


def _finding(which: str, found: Sequence[_Choice]) -> Finding:
    """Returns the finding, a note where the network knows most of the labels already."""
    one = found[0]
    may_be_meant = one.right > _KNOWS
    return Finding(
        severity="note" if may_be_meant else "warning",
        code="loss-ignores-examples",
        seen=f"the {which} trains on {one.kept} of {one.count} examples, exactly those with the "
        f"smallest losses (mean {one.losses[0]:.3g}; {one.losses[1]:.3g} of the others)"
        + ("" if may_be_meant or math.isnan(one.right) else f", and {one.right:.0%} are right yet"),
        cause="examples are chosen by small loss, which is meant where labels are wrong"
        if may_be_meant
        else "examples are chosen by their losses the wrong way round: topk(largest=False), a sort "
        "that rises, < in place of >; what is hard is never learnt",
        cure="nothing, where it keeps wrong labels out; to mine hard examples, take the largest "
        "losses: losses.topk(k).values.mean()"
        if may_be_meant
        else "take the largest losses, losses.topk(k).values.mean(), or all; against wrong labels "
        "(co-teaching) keep all at first, and fewer when the network has learnt most",
        evidence={"kept": float(one.kept), "of": float(one.count), "right": one.right},
    )
