"""Passes that tell training from validation: the same batch in both modes, twice, and how sure.

They run on a few kept examples after the training, or when findings are asked for. No labels are
needed. Buffers, modes and random states stay.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn

from ravine.core.nested import batch_size, tensors_in
from ravine.core.preserve_state import preserve_state
from ravine.findings.held_out_detectors import is_behind
from ravine.findings.run_trace import trace
from ravine.findings.thresholds import NOISY, SEEN
from ravine.monitor.augmented_copies import share_of_copies
from ravine.monitor.evaluated_copies import copy_differs
from ravine.monitor.example_influence import example_influence
from ravine.monitor.input_shift import input_shift, wrapping
from ravine.monitor.layer_probe import preserve_python_and_numpy
from ravine.monitor.loop_watch import Call, LoopWatch
from ravine.monitor.repeated_validation import are_averaged, share_changed
from ravine.monitor.response_distance import response_shift
from ravine.monitor.token_answers import token_answers
from ravine.monitor.validation_views import better_view

_FEWEST, _NUMBERS = 4, 8  # examples, and numbers of an output of which they can be alike
_ENOUGH, _FEW = 32, 8  # examples whose own statistics say something; of a pass of training
_ONE = 1e-3  # off a sum of 1


@final
class EvaluationProbe:
    """What such passes told last.

    Attributes:
        step: after which they ran; -1 before the first.
        found: fields of a `LoopRecord`.
    """

    def __init__(self) -> None:
        self.step, self.found = -1, dict[str, Any]()

    def probe(
        self, model: nn.Module, watch: LoopWatch, rows: Sequence[Mapping[str, Any]], *, step: int
    ) -> None:
        """Runs the passes on what the watch has kept of training and validation.

        Args:
            model: that is watched.
            watch: that has kept examples.
            rows: of the history; where validation is clearly worse, views of it are tried.
            step: after which it is.
        """
        self.step, self.found = step, {}
        with preserve_python_and_numpy():
            self.found = dict(probe_evaluation(model, watch.trained, watch.validated))
            alike = self.found.pop("alike", 0)
            if alike < 2 and not _compares(watch, step):
                self.found.pop("apart", None)
            ours, theirs = watch.many_trained, watch.many_validated
            if ours is not None and theirs is not None:
                self.found["wrapping"] = wrapping(ours, theirs)
                if is_behind(trace(rows)):
                    self.found["view"] = better_view(model, ours, theirs)
                    self.found["response"] = response_shift(model, ours, theirs)
        if watch.trained is not None:
            self.found["followed"] = watch.norms.followed(model, *watch.trained)
        if watch.trained is not None and watch.elsewhere == watch.validations > 0:
            self.found["copy_differs"] = copy_differs(model, watch.trained)
        classes = self.found.get("classes", 0)
        if not are_averaged(watch.validated_passes):
            self.found["redrawn"] = share_changed(watch.many_before, watch.many_validated, classes)
        self.found["seen_in_training"] = _share_seen(watch, classes)


def _share_seen(watch: LoopWatch, classes: int) -> float:
    """Returns the share of the examples of validation that were trained on.

    Where whole passes show it, of the pass that has least: neighbours that are sought among
    examples of training bring these into a validation by a pass of their own.
    """
    if watch.validated is None:
        return 0.0
    share = max(
        watch.seen.share_of(watch.validated),
        share_of_copies(watch.many_trained, watch.many_validated, classes),
    )
    parts = watch.validated_passes if share > SEEN else []
    if len(parts) < 2:
        return share
    return min(
        max(watch.seen.share_of(one), share_of_copies(watch.many_trained, one, classes))
        for one in parts
    )


def _compares(watch: LoopWatch, step: int) -> bool:
    """Returns whether a step sends several inputs through the network, such as two views."""
    several = [t for t in tensors_in(watch.trained) if t.dim() > 1]
    return len(several) > 1 or watch.calls > 1.5 * step


def probe_evaluation(
    model: nn.Module, trained: Call | None, validated: Call | None
) -> Mapping[str, Any]:
    """Returns the fields of a `LoopRecord` that need passes; those that cannot be known are left.

    Args:
        model: any module, uncompiled; it is left bitwise as it was.
        trained: arguments of a batch of training.
        validated: arguments of a batch of validation.
    """
    found: dict[str, Any] = {}
    with preserve_state(model), torch.no_grad():
        if trained is not None:
            found |= _on_training(model, trained)
        if validated is not None:
            model.eval()
            outputs = _outputs(model, validated)
            out = next(iter(outputs), None)
            found["tokens"] = token_answers(validated, outputs)
            found["sure_in_validation"], found["doubt_in_validation"] = _sure(out), _doubt(out)
            if trained is None and out is not None:
                found["noise"] = _noise(outputs, _outputs(model, validated))
            if out is not None:
                found["loss_bounds"] = _loss_bounds(out)
                found["norms_agree"], found["doubt_by_batch"] = _by_batch(model, validated, out)
    if trained is not None and validated is not None:
        found["shift"] = input_shift(trained, validated)
    return found


def _on_training(model: nn.Module, call: Call) -> dict[str, Any]:
    model.eval()
    outputs, again = _outputs(model, call), _outputs(model, call)
    out = next(iter(outputs), None)
    found: dict[str, Any] = {"sure_in_training": _sure(out)}
    if out is None or not again:
        return found
    found["noise"] = _noise(outputs, again)
    found["apart"] = _apart(out)
    found["alike"] = sum(one.shape == out.shape for one in outputs)
    # Of an output that is drawn around another one, a difference says nothing.
    if found["noise"] < NOISY and not _difference(out, again[0]) > NOISY:
        found["influence"] = example_influence(model, call, _outputs)
    found["own_norms_agree"], _ = _by_batch(model, call, out, fewest=_FEW)
    model.train()
    with _statistics_kept(model):
        learning = next(iter(_outputs(model, call)), None)
    if learning is not None and learning.shape == out.shape:
        found["sure_while_training"] = _sure(learning)
        found["modes_agree"] = _agreement(learning, out)
    if out.dim() == 2 and out.shape[1] > 1:
        found["classes"] = out.shape[1]
        found["probabilities_doubt"] = _doubt_of_probabilities(out)
    return found


def _by_batch(
    model: nn.Module, call: Call, out: Tensor, *, fewest: int = _ENOUGH
) -> tuple[float, float]:
    """Returns the share of answers that stay where batch norms take the statistics of the batch.

    And the entropy of those answers. NaN without such norms, with few examples, or where outputs
    are no logits.

    Args:
        model: in evaluation mode, which it is in afterwards.
        call: arguments of a batch.
        out: logits (N, K, …) of it.
        fewest: N that tell something.
    """
    norms = _norms_with_statistics(model)
    if not norms or not _has_answers(out) or len(out) < fewest:
        return math.nan, math.nan
    for norm in norms:
        norm.train()
    try:
        with _statistics_kept(model):
            other = next(iter(_outputs(model, call)), None)
    finally:
        for norm in norms:
            norm.eval()
    if other is None or other.shape != out.shape:
        return math.nan, math.nan
    return _agreement(other, out), _doubt(other)


def _norms_with_statistics(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [
        m
        for m in model.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None
    ]


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Lets batch norms take the statistics of batches, and not keep any of them."""
    norms = _norms_with_statistics(model)
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _agreement(one: Tensor, other: Tensor) -> float:
    """Returns the share of equal answers of logits; of other outputs that of equal variance."""
    if _has_answers(one):
        return float((one.argmax(1) == other.argmax(1)).double().mean())
    return max(0.0, 1 - _difference(one, other) ** 2)


def _has_answers(out: Tensor) -> bool:
    """Returns whether outputs are logits (N, K), or (N, K, H, W) with one at each place."""
    return out.dim() in (2, 4) and out.shape[1] > 1


def _outputs(model: nn.Module, call: Call) -> list[Tensor]:
    """Returns the outputs (N, …) with a number per example, float64."""
    args, kwargs = call
    size = batch_size(call)
    return [
        t.double()
        for t in tensors_in(model(*args, **kwargs))
        if t.is_floating_point() and t.dim() > 0 and len(t) == size >= _FEWEST
    ]


def _sure(out: Tensor | None) -> float:
    """Returns the mean largest probability of logits (N, K, …), NaN for another output."""
    if out is None or not _has_answers(out):
        return math.nan
    return float(out.softmax(1).max(1).values.mean())


def _doubt(out: Tensor | None) -> float:
    """Returns the mean entropy of the probabilities of logits (N, K, …), NaN for another output."""
    if out is None or not _has_answers(out):
        return math.nan
    return float(torch.special.entr(out.softmax(1)).sum(1).mean())


def _doubt_of_probabilities(out: Tensor) -> float:
    """Returns the mean entropy of rows (N, K) that are probabilities, NaN for others."""
    is_one = bool((out >= 0).all()) and bool(((out.sum(1) - 1).abs() < _ONE).all())
    return float(torch.special.entr(out.double()).sum(1).mean()) if is_one else math.nan


def _loss_bounds(out: Tensor) -> tuple[float, float, float] | None:
    """Returns the mean cross-entropy of logits (N, K) with the best, random and worst labels."""
    if out.dim() != 2 or out.shape[1] < 2:
        return None
    costs = -out.log_softmax(1)
    return float(costs.amin(1).mean()), float(costs.mean()), float(costs.amax(1).mean())


def _apart(out: Tensor) -> float:
    """Returns the share of the directions of outputs (N, …) that varies between examples."""
    flat = out.flatten(1)
    if flat.shape[1] < _NUMBERS or not bool(flat.isfinite().all()):
        return math.nan
    directions = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-24)
    return 1 - float(directions.mean(0).square().sum())


def _noise(outputs: list[Tensor], again: list[Tensor]) -> float:
    """Returns the least difference of two passes; what is drawn around an output is meant."""
    return min((d for d in map(_difference, outputs, again) if d == d), default=math.nan)


def _difference(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape or not bool(one.isfinite().all()):
        return math.nan
    spread = max(float(one.std()), 1e-3 * float(one.abs().max()), 1e-12)
    return float((one - other).square().mean().sqrt()) / spread
