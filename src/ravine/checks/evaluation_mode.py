"""Checks of the network in evaluation mode: the same twice, and each example for itself."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.inner_influence import inner_influence
from ravine.checks.step_observation import run_step
from ravine.core.nested import batch_size, call_model, map_tensors, slice_examples, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import ALIKE, MIXED, NOISY

_EXAMPLES = 16
_EQUAL = 1e-5  # difference of passes with the same chance; a kept state may soon settle


def check_evaluation(context: CheckContext) -> Iterator[Finding]:
    """Yields noise of repeated passes, and examples that influence each other's outputs."""
    sample = context.samples[0].first(_EXAMPLES)
    with preserve_training(context.model), torch.no_grad():
        context.model.eval()
        outputs, again = (_outputs(context, sample.inputs) for _ in range(2))
        if not outputs or len(outputs) != len(again) or len(outputs[0]) < 4:
            return
        one = outputs[0]
        # What is drawn around another output, as a variational autoencoder does, is meant.
        noise = min(_difference(*both) for both in zip(outputs, again, strict=True))
        if noise > NOISY and not _rests_after_step(context, sample):
            yield _keeps_state(noise) if _is_kept(context, sample) else noisy_evaluation(noise)
        if noise > NOISY:
            return
        is_drawn = _difference(one, again[0]) > NOISY
        influence = 0.0 if is_drawn else _influence(context, sample, one)
        layer: str | None = None
        if not is_drawn and influence <= MIXED and _are_alike(one):
            layer, influence = inner_influence(context.model, sample)
    if influence > MIXED:
        yield _mixed(context.model, influence, layer)


def _rests_after_step(context: CheckContext, sample: CheckBatch) -> bool:
    """Returns whether passes agree once the user's step has run.

    It puts a body into evaluation mode that the network does not hold as a part of it.
    """
    if context.step is None:
        return False
    with preserve_training(context.model):
        with torch.enable_grad():
            run_step(context)
        context.model.eval()
        outputs, again = (_outputs(context, sample.inputs) for _ in range(2))
    both = zip(outputs, again, strict=False)
    return min((_difference(*pair) for pair in both), default=math.inf) <= NOISY


def _is_kept(context: CheckContext, sample: CheckBatch) -> bool:
    """Returns whether passes of one batch differ with the same chance: by what a pass leaves."""
    found: list[list[Tensor]] = []
    for _ in range(2):
        torch.manual_seed(0)
        found.append(_outputs(context, sample.inputs))
    both = zip(*found, strict=False)
    return min((_difference(*pair) for pair in both), default=0.0) > _EQUAL


def _outputs(context: CheckContext, inputs: Any) -> list[Tensor]:
    """Returns the outputs (N, …) with a number per example, float64; none if one is not finite."""
    found = tensors_in(call_model(context.model, inputs))
    size = batch_size(inputs)
    fits = [t for t in found if t.is_floating_point() and t.dim() > 0 and len(t) == size]
    return [t.double() for t in fits] if all(bool(t.isfinite().all()) for t in fits) else []


def _output(context: CheckContext, inputs: Any) -> Tensor | None:
    return next(iter(_outputs(context, inputs)), None)


def _difference(one: Tensor, other: Tensor) -> float:
    """Returns the root mean square difference over that between examples, of equal shapes.

    Differences between the numbers of one example, as between biases, are no part of it.
    """
    between = float(one.var(0).mean().sqrt())
    spread = max(between, 1e-3 * float(one.abs().max()), 1e-12)
    return float((one - other).square().mean().sqrt()) / spread


def _are_alike(out: Tensor) -> bool:
    """Returns whether outputs (N, …) are the same for all examples, and show no influence."""
    return float(out.var(0).mean()) <= ALIKE * float(out.var())


def _influence(context: CheckContext, sample: CheckBatch, whole: Tensor) -> float:
    """Returns how much outputs change when other examples of the batch are left out or reordered.

    0 where the network takes no other number of examples, or compares them with each other.
    """
    size = len(sample)
    order = torch.arange(size - 1, -1, -1, device=whole.device)
    reordered = map_tensors(sample.inputs, lambda t: t[order] if t.dim() and len(t) == size else t)
    half = slice_examples(sample.inputs, size // 2, size=size)
    try:
        turned, first = _output(context, reordered), _output(context, half)
    except Exception:  # the user's network, on a batch that it was not made for
        return 0.0
    if first is not None and first.shape[1:] != whole.shape[1:]:
        return 0.0  # a number for each pair of examples, as of contrastive losses
    found = [0.0 if turned is None else _difference(whole, turned[order])]
    found += [0.0 if first is None else _difference(whole[: size // 2], first)]
    return max(found)


def noisy_evaluation(noise: float) -> Finding:
    """Returns the finding of a network whose output differs from pass to pass.

    Args:
        noise: root mean square difference over the standard deviation of the output.
    """
    return Finding(
        severity="warning",
        code="noisy-evaluation",
        seen=f"in evaluation mode two passes of the same batch differ by {noise:.2g} of the "
        "output's standard deviation",
        cause="dropout or noise stays on: F.dropout without training=self.training, or a random "
        "layer that does not ask for the mode",
        cure="write F.dropout(x, p, training=self.training), or take nn.Dropout",
        evidence={"noise": noise},
    )


def _keeps_state(noise: float) -> Finding:
    return Finding(
        severity="warning",
        code="noisy-evaluation",
        seen=f"in evaluation mode two passes of the same batch differ by {noise:.2g} of the "
        "output's standard deviation, with the same random numbers too",
        cause="the network keeps something from pass to pass: a hidden state, a cache, a queue",
        cure="begin each batch from a fresh state (hidden = None), or pass it in as an argument; "
        "keep it only where the next batch continues the same sequences",
        evidence={"noise": noise},
    )


def _mixed(model: nn.Module, influence: float, layer: str | None = None) -> Finding:
    by_norm = any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is None
        for m in model.modules()
    )
    return Finding(
        severity="note" if by_norm else "warning",
        code="examples-mixed",
        seen="in evaluation mode the output of an example "
        + (f"in {layer} " if layer else "")
        + "depends on the other examples of its "
        f"batch: it changes by {influence:.2g} of its standard deviation",
        cause="batch norm without running statistics"
        if by_norm
        else "an operation runs over the batch axis: attention or a recurrent layer without "
        "batch_first=True, a softmax or a norm with dim=0, or a reshape or transpose that mixes "
        "examples and features",
        cure="give batch norm running statistics, or evaluate in batches of the same kind"
        if by_norm
        else "take batch_first=True, and dim=1 (or -1) in place of 0; keep the first axis as it is "
        "in each reshape",
        layer=layer,
        evidence={"influence": influence},
    )
