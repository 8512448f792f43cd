"""How differently a trained network responds to two sets of inputs, layer by layer.

Each unit's mean response to one set stands beside that to the other: a test of two samples in which
the network is the instrument. Units of early layers know nothing of what was memorised.

    responses(model, call)             (N, units) of each layer
    distance(ours, theirs)             mean squared difference, in squared standard errors
    response_shift(model, ours, theirs)    the same among examples of one answer: not their mixture

Shape letters: N examples, K classes.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ravine.core.nested import batch_size, pick_examples, tensors_in
from ravine.core.preserve_state import preserve_state
from ravine.findings.loop_record import ResponseShift
from ravine.monitor.loop_watch import Call

_FEWEST, _OF_ONE = 64, 16  # different examples of each set, and of one answer
_SECONDS = 1.0
_MOST_UNITS = 256  # of a layer
_KINDS = (nn.Linear, nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase)


def some_examples(call: Call, count: int) -> Call:
    """Returns examples of a call, evenly spread, at most `count` of them."""
    size = batch_size(call)
    indices = torch.arange(min(count, size)) * size // min(count, size)
    return pick_examples(call, indices, size=size)


def response_shift(model: nn.Module, trained: Call, validated: Call) -> ResponseShift | None:
    """Returns how far responses to validation are from those to training, of equal answers.

    Examples that are the same count once. None where they are few, or passes too slow. Buffers,
    modes and random state of the network stay.
    """
    trained, validated = _different(trained), _different(validated)
    if min(batch_size(trained), batch_size(validated)) < _FEWEST:
        return None
    with preserve_state(model), torch.no_grad():
        model.eval()
        began = time.monotonic()
        _answered(model, some_examples(trained, _FEWEST))
        seconds = (time.monotonic() - began) / _FEWEST
        count = int(_SECONDS / max(2 * seconds, 1e-9))
        if count < _FEWEST:
            return None
        ours, theirs = (
            _answered(model, some_examples(call, count)) for call in (trained, validated)
        )
    return _among_equal_answers(*ours, *theirs)


def _different(call: Call) -> Call:
    """Returns the examples of a call without those that are the same as an earlier one."""
    size = batch_size(call)
    given = [t for t in tensors_in(call) if t.dim() > 1 and len(t) == size]
    if not given or size < 2:
        return call
    rows = torch.cat([t.reshape(size, -1).double() for t in given], 1)
    weights = torch.linspace(1, 2, rows.shape[1], dtype=rows.dtype, device=rows.device).sqrt()
    _, group = torch.unique(rows @ weights, return_inverse=True)
    first = torch.full((size,), size, device=rows.device)
    first.scatter_reduce_(0, group, torch.arange(size, device=rows.device), "amin")
    return pick_examples(call, first[first < size].sort().values.cpu(), size=size)


def _answered(model: nn.Module, call: Call) -> tuple[list[Tensor], Tensor]:
    """Returns the responses of each layer, and the answer to each example, (N,)."""
    size, out = batch_size(call), list[Any]()
    found = responses(model, call, out)
    logits = next((t for t in tensors_in(out) if t.dim() == 2 and len(t) == size), None)
    if logits is None or not logits.is_floating_point() or logits.shape[1] < 2:
        return found, torch.zeros(size, dtype=torch.long)
    return found, logits.argmax(1)


def _among_equal_answers(
    ours: Sequence[Tensor], answers: Tensor, theirs: Sequence[Tensor], their_answers: Tensor
) -> ResponseShift | None:
    """Returns the mean of the distances among examples of one answer, weighted by their number."""
    total = effects = weight = 0.0
    for k in answers.unique().tolist():
        mine, other = answers == k, their_answers == k
        count, others = int(mine.sum()), int(other.sum())
        if min(count, others) < _OF_ONE:
            continue
        apart = distance([t[mine] for t in ours], [t[other] for t in theirs])
        if not math.isfinite(apart):
            continue
        total, weight = total + others * apart, weight + others
        effects += others * max(0.0, apart - 1) * (1 / count + 1 / others)
    return ResponseShift(distance=total / weight, effect=effects / weight) if weight else None


def responses(model: nn.Module, call: Call, outputs: list[Any] | None = None) -> list[Tensor]:
    """Returns the mean response of units to each example, (N, units) of each layer that has them.

    Layers run once; those without the batch as their first axis are left out.

    Args:
        model: in the mode that it is to run in.
        call: its arguments.
        outputs: to which the network's own output is added.
    """
    size = batch_size(call)
    found: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() >= 2 and len(output) == size:
            units = output if output.dim() != 3 else output.transpose(1, 2)
            found.append(units.double().reshape(size, units.shape[1], -1).mean(2)[:, :_MOST_UNITS])

    with _watched(model, keep):
        args, kwargs = call
        out = model(*args, **kwargs)
    if outputs is not None:
        outputs.append(out)
    return found


@contextmanager
def _watched(model: nn.Module, keep: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    layers = [m for m in model.modules() if isinstance(m, _KINDS)]
    handles = [layer.register_forward_hook(keep) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Returns the mean squared difference of the units' means, in squared standard errors.

    Near 1 where both are drawn alike; the mean over layers.

    Args:
        ours: responses (N, units) of each layer, whose spread sets the errors.
        theirs: those to other examples, (n, units).
    """
    if len(ours) != len(theirs):
        return float("inf")
    found = []
    for a, b in zip(ours, theirs, strict=True):
        # The spread of training alone, so that no view gains by responses that vary more.
        error = a.var(0) * (1 / len(a) + 1 / len(b))
        known = error > 1e-12 * a.square().mean()
        if bool(known.any()):
            found.append(float(((a.mean(0) - b.mean(0)).square()[known] / error[known]).mean()))
    return sum(found) / len(found) if found else float("inf")
