"""The range test of the learning rate: `--lr auto`.

The learning rate rises from low to high by equal factors, a step at each, until the loss
explodes (Smith, "Cyclical learning rates", WACV 2017). Afterwards everything is as it was.
"""

import copy
import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ravine.core.batch_form import check_batches, inputs_and_targets
from ravine.core.errors import SettingError
from ravine.core.nested import call_model, tensors_in, to_device
from ravine.core.preserve_random import generators_of, preserve_random
from ravine.core.validation import check_range
from ravine.nn.freezing import training_mode_

SMOOTHING = 0.9  # of the loss, a moving mean corrected for its start
_SETTLED = 10  # losses, 1/(1 − smoothing), before which the mean is of too few to be judged
_EXPLODED = 3.0  # times the least loss so far
_BEYOND_FIRST = 10.0  # times what the first losses differ, where the loss has no 0
# Of the loss: a step that lowers it by less shows nothing. Ten times, since momentum adds up.
_UNSEEN, _ADDED_UP = 1e-3, 10.0
_BELOW_THE_LEAST = 4.0  # the learning rate of the least loss, divided by this, is suggested


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeTest:
    """The result of a range test.

    Attributes:
        rates: the learning rates that were tried, rising.
        losses: the smoothed loss at each.
        suggestion: a learning rate for the peak of a schedule.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def suggest(rates: list[float], losses: list[float]) -> float:
    """Returns a quarter of the learning rate at which the smoothed loss was least.

    The first ten losses are left out where there are more: their mean is of too few.

    >>> suggest([0.1, 0.2, 0.4, 0.8], [3.0, 2.0, 1.0, 5.0])
    0.1
    """
    first = _SETTLED if len(losses) > _SETTLED else 0
    least = min(range(first, len(losses)), key=losses.__getitem__)
    return rates[least] / _BELOW_THE_LEAST


def range_test(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[[Any, Any], Tensor],
    batches: Iterable[Any],
    *,
    low: float | None = None,
    high: float | None = None,
    steps: int = 80,
    precision: torch.dtype = torch.float32,
) -> RangeTest:
    """Returns the loss by learning rate, and a learning rate for the peak of a schedule.

    Weights, buffers, the optimizer's state and learning rates, training mode, gradients and the
    random state are afterwards bitwise what they were. Where there are fewer batches than steps
    they are gone through again.

    Args:
        model: the network.
        optimizer: its optimizer; each group's learning rate is set to the same value. Of one whose
            groups take steps of different kinds (`rates_in_proportion`), to the same multiple, and
            the result is that of the first group.
        loss_fn: the model's output and targets to a 0-dim loss.
        batches: at least a few: a DataLoader, or another iterable of (inputs, targets), of several
            inputs and then the targets, or of objects with `images` and `targets`.
        low: first learning rate, by default a thousandth of the optimizer's.
        high: last learning rate, by default a hundred times the optimizer's.
        steps: learning rates to try, at least 1.
        precision: type of the autocast region: float32, bfloat16 or float16.

    Raises:
        SettingError: not 0 < low < high, not even the first loss is finite, a batch is of another
            form, there is none, or an iterator ends before the steps and the loss's explosion.
    """
    check_batches(batches)
    middle = float(optimizer.param_groups[0]["lr"])
    low = middle / 1e3 if low is None else low
    high = middle * 100 if high is None else high
    check_range("low", low, low=0.0, low_open=True, high=high, high_open=True)
    with _restored(model, optimizer, batches):
        training_mode_(model)
        rates, losses = _rise(model, optimizer, loss_fn, batches, low, high, steps, precision)
    return RangeTest(rates=tuple(rates), losses=tuple(losses), suggestion=suggest(rates, losses))


@contextmanager
def _restored(model: nn.Module, optimizer: Optimizer, batches: Any) -> Iterator[None]:
    """Restores model, optimizer and random state bitwise at the end of the block."""
    # Not by state_dict: it leaves out buffers that are not persistent.
    tensors = [*model.parameters(), *model.buffers()]
    kept_tensors = [tensor.detach().clone() for tensor in tensors]
    kept_state = {p: copy.deepcopy(slots) for p, slots in optimizer.state.items()}
    kept_lrs = [group["lr"] for group in optimizer.param_groups]
    kept_gradients = [p.grad for p in model.parameters()]
    kept_modes = [module.training for module in model.modules()]
    device = next(model.parameters()).device
    try:
        devices = [device] if device.type == "cuda" else []
        with preserve_random(*generators_of(batches), devices=devices):
            yield
    finally:
        with torch.no_grad():
            for tensor, kept in zip(tensors, kept_tensors, strict=True):
                tensor.copy_(kept)
        for module, mode in zip(model.modules(), kept_modes, strict=True):
            module.training = mode
        optimizer.state.clear()
        optimizer.state.update(kept_state)
        for group, lr in zip(optimizer.param_groups, kept_lrs, strict=True):
            group["lr"] = lr
        for p, gradient in zip(model.parameters(), kept_gradients, strict=True):
            p.grad = gradient


def _rise(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[[Any, Any], Tensor],
    batches: Iterable[Any],
    low: float,
    high: float,
    steps: int,
    precision: torch.dtype,
) -> tuple[list[float], list[float]]:
    rates: list[float] = []
    losses: list[float] = []
    mean, seen_from = 0.0, low
    shares = _shares(optimizer)
    for step, batch in enumerate(_again(batches, steps)):
        lr = low * (high / low) ** (step / max(steps - 1, 1))
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = lr * share
        with torch.set_grad_enabled(lr >= seen_from):  # below it the weights stay
            loss = _loss_in(model, loss_fn, batch, precision)
        if step == 0 and loss.requires_grad:
            seen_from = lr * _times_unseen(model, optimizer, loss)
        elif loss.requires_grad:
            model.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(loss.detach())
        smooth = mean / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(smooth) or _exploded(losses, smooth):
            break
        rates.append(lr)
        losses.append(smooth)
    if not losses:
        raise SettingError(
            "the range test saw no finite loss: check the images' scaling, or give --lr yourself"
        )
    return rates, losses


def _shares(optimizer: Optimizer) -> list[float]:
    """Returns what each group's learning rate is of the first one's: the same, mostly."""
    if not getattr(optimizer, "rates_in_proportion", False):
        return [1.0] * len(optimizer.param_groups)
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    return [rate / rates[0] if rates[0] > 0 else 1.0 for rate in rates]


def _again(batches: Iterable[Any], steps: int) -> Iterator[Any]:
    """Yields so many batches, from the first again where they end.

    Not by itertools.cycle: it would keep them all, and give those of an unshuffled round again.
    """
    count = 0
    while count < steps:
        before = count
        for batch in itertools.islice(batches, steps - count):
            yield batch
            count += 1
        if count == before == 0:
            raise SettingError("batches is empty; pass at least one (inputs, targets)")
        if count == before:
            raise SettingError(
                f"batches is an iterator that ended after {count} of the {steps} steps of the "
                "range test; pass what can be gone through again: the DataLoader itself, or a list"
            )


def _loss_in(
    model: nn.Module,
    loss_fn: Callable[[Any, Any], Tensor],
    batch: Any,
    precision: torch.dtype,
) -> Tensor:
    inputs, targets = inputs_and_targets(batch)
    devices = {p.device for p in model.parameters()}
    if len(devices) == 1:
        inputs, targets = to_device((inputs, targets), devices.pop())
    kind = tensors_in(inputs)[0].device.type
    with torch.autocast(kind, precision, enabled=precision != torch.float32):
        output = call_model(model, inputs)
    if isinstance(output, Tensor) and output.dtype in (torch.bfloat16, torch.float16):
        output = output.float()
    return loss_fn(output, targets)


def _times_unseen(model: nn.Module, optimizer: Optimizer, loss: Tensor) -> float:
    """Takes a step; returns by which factor a longer one could be, and not be seen in the loss.

    A step Δ lowers the loss by g·Δ in first order. Below the factor the weights stay: the losses
    are those of the same network, and need no gradient. At most 1 where it is seen already.
    """
    learning = [p for p in model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in learning]
    model.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    lowered = math.fsum(
        float((p.grad.to_dense().double() * (p.detach() - old).double()).sum().abs())
        for p, old in zip(learning, before, strict=True)
        if p.grad is not None
    )
    most = _UNSEEN * abs(float(loss.detach()))
    return most / (_ADDED_UP * lowered) if lowered > 0 else 1.0


def _exploded(losses: list[float], smooth: float) -> bool:
    judged = losses[_SETTLED:]
    if not judged:
        return False
    least, first = min(judged), statistics.median(losses[:_SETTLED])
    apart = max(losses[:_SETTLED]) - min(losses[:_SETTLED])
    if least > 0 and first > apart:
        return smooth > _EXPLODED * least
    # A likelihood may be above 1, or a reward be weighed: nothing says where 0 is.
    return smooth - first > max(first - least, _BEYOND_FIRST * apart)
