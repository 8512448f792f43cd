"""Images that a step mixes, and the shares that it gives their labels: read off what it computes.

Each fed image is taken apart into two of the batch (a weighted sum, or a patch of one in the
other), so that its share is known exactly. The targets of a mean cross-entropy follow from its
gradient by the logits: softmax(out) − N·dL/d(out). Both shares must be the same.

Shape letters: N examples, D numbers of an input, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.core.nested import tensors_in
from ravine.core.preserve_tensors import preserve_tensors
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding

_CALLS, _FEWEST = 8, 12  # of the step at most, and mixed examples that decide
_FIT = 1e-4  # squared error of a mixture over the squares of its image
_APART = 0.15  # of a share from one half, that tells it from its opposite
_NEAR = 0.05  # between shares that are the same
_PATCH = 0.12  # of a share that was counted in pixels
_BOTH = 0.9  # of the targets, that the two labels have
_MOSTLY = 0.8  # of the mixed examples


@dataclass(frozen=True, slots=True)
class _Pass:
    """Inputs (N, D) and logits (N, K) of a training pass, and dL/d(logits)."""

    inputs: Tensor
    logits: Tensor
    slopes: list[Tensor]


def find_exchanged_in_step(context: CheckContext) -> Iterator[Finding]:
    """Yields a step whose labels have the share that the other image has."""
    if context.step is None or context.measured.logits is None:
        return
    own = opposite = 0
    for fed, sample in _passes(context):
        found = _votes(fed, sample)
        if found is None:
            continue
        own, opposite = own + found[0], opposite + found[1]
        if own + opposite >= 2 * _FEWEST:
            break
    if opposite >= _FEWEST and opposite > _MOSTLY * (own + opposite):
        yield Finding(
            severity="critical",
            code="step-trains-something-else",
            seen=f"of {own + opposite} images that the step mixes, {opposite} give their label the "
            "share that the other image has",
            cause="images are mixed as λ and 1 − λ, and the losses of their labels as 1 − λ and λ",
            cure="weigh the loss of each label by the share of its image: "
            "λ·loss(out, y) + (1 − λ)·loss(out, y[order])",
            evidence={"exchanged": float(opposite), "own": float(own)},
        )


def _passes(context: CheckContext) -> Iterator[tuple[_Pass, CheckBatch]]:
    """Yields the first pass of some calls of the step, with its batch; all is put back."""
    assert context.step is not None
    sample = context.samples[0]
    if len(sample.float_inputs) != 1 or sample.labels is None or int(sample.labels.min()) < 0:
        return
    given = tensors_in((sample.original, sample.inputs, sample.targets))
    with preserve_training(context.model, context.optimizer):
        for _ in range(_CALLS):
            found: list[_Pass] = []
            handle = context.model.register_forward_hook(_keeper(found))
            try:
                with preserve_tensors(given):
                    context.step(sample.original)
            except Exception:  # the user's step, which ran before without being watched so closely
                return
            finally:
                handle.remove()
            images = sample.float_inputs[0].flatten(1)
            if not found or found[0].inputs.shape != images.shape:
                return
            if torch.equal(found[0].inputs, images):
                return  # nothing is mixed
            yield found[0], sample


def _keeper(found: list[_Pass]) -> Any:
    def keep(_module: Any, args: Any, out: Any) -> None:
        fits = [t for t in tensors_in(args) if t.is_floating_point() and t.dim() > 1]
        is_first = torch.is_grad_enabled() and not found and len(fits) == 1
        if is_first and isinstance(out, Tensor) and out.dim() == 2 and out.requires_grad:
            held = _Pass(fits[0].detach().flatten(1).clone(), out.detach().clone(), [])
            out.register_hook(lambda slope: held.slopes.append(slope.detach().clone()))
            found.append(held)

    return keep


def _votes(fed: _Pass, sample: CheckBatch) -> tuple[int, int] | None:
    """Returns how many mixed examples give their label its own share, and the opposite one."""
    labels = sample.labels
    if labels is None or not fed.slopes or len(fed.logits) != len(labels):
        return None
    n = len(labels)
    targets = fed.logits.double().softmax(1) - n * sum(s.double() for s in fed.slopes)
    images = sample.float_inputs[0].detach().flatten(1)
    shares, partners, slack = _shares(fed.inputs.double(), images.double())
    rows = torch.arange(n, device=labels.device)
    ours, theirs = targets[rows, labels], targets[rows, labels[partners]]
    are_two = (labels != labels[partners]) & (ours + theirs > _BOTH) & (ours.abs() < 2)
    is_clear = ((shares - 0.5).abs() > _APART) & are_two
    own = is_clear & ((ours - shares).abs() < slack)
    opposite = is_clear & ((ours - (1 - shares)).abs() < slack)
    return int(own.sum()), int(opposite.sum())


def _shares(fed: Tensor, images: Tensor) -> tuple[Tensor, Tensor, float]:
    """Returns the share of each image (N, D) in what is fed, (N,), its partner, and an error.

    0.5, which says nothing, where an image is no mixture of its own and another one.
    """
    own, cross = (fed * images).sum(1, keepdim=True), fed @ images.T
    among, squares = images @ images.T, images.square().sum(1)
    # Least squares of fed_i − x_j = s (x_i − x_j) for each j.
    apart = (squares[:, None] + squares[None] - 2 * among).clamp_min(1e-12)
    s = (own - cross - among + squares[None]) / apart
    left = fed.square().sum(1, keepdim=True) - 2 * cross + squares[None] - s.square() * apart
    left.fill_diagonal_(float("inf"))
    error, partner = left.min(1)
    share = s.gather(1, partner[:, None])[:, 0]
    fits = (error < _FIT * fed.square().sum(1)) & (share > 0.02) & (share < 0.98)
    if bool(fits.double().mean() > 0.5):
        return torch.where(fits, share, 0.5), partner, _NEAR
    same = (fed[:, None] == images[None]).double().mean(2)  # patches of one in the other
    mine = same.diagonal().clone()
    same.fill_diagonal_(-1)
    theirs, partner = same.max(1)
    alike = (images == images[partner]).double().mean(1)
    share = (mine - alike) / (mine + theirs - 2 * alike).clamp_min(1e-9)
    fits = (mine + theirs - alike > 0.98) & (mine < 0.98) & (alike < 0.7)
    return torch.where(fits, share, 0.5), partner, _PATCH
