"""Head first: a linear head is fitted to features before anything else moves.

A fresh head sends random gradients through trained layers and undoes part of them in the first
steps (Kumar et al., "Fine-tuning can distort pretrained features", ICLR 2022: first a linear probe,
then all). The head is the minimum of the run's own loss plus λ/2·‖W‖², found by L-BFGS; λ is the
one of a few under which a fifth of the images, held out, have the least loss.

Shape letters: N images, F features, K classes.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from ravine.core.minimise import minimise
from ravine.nn.head import LAYERS
from ravine.training.features import HeadOnly
from ravine.training.loss import Loss

_PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
_HELD_OUT = 5  # one of so many images
_ITERATIONS, _HISTORY = 60, 20
_FEWEST = 4  # evaluations for a λ


def fit_head_(
    end: HeadOnly, features: Tensor, targets: Tensor, loss: Loss, *, seconds: float = math.inf
) -> float:
    """Sets the head's weights to the fitted ones, and returns λ.

    Args:
        end: the network from its head on; a linear layer or a convolution.
        features: (N, F) float32, on the head's device.
        targets: (N,) labels or (N, K) shares, as `loss` takes them.
        loss: of logits and targets, a mean over images.
        seconds: that it may take, in about; four evaluations for each λ are made in any case.

    Raises:
        ValueError: the head is no layer with a weight.
    """
    if not isinstance(end.head, LAYERS):
        raise ValueError(f"a {type(end.head).__name__} is no head that can be fitted")
    start = [parameter.detach().clone() for parameter in end.head.parameters()]
    held = torch.arange(len(features), device=features.device) % _HELD_OUT == 0
    most = _evaluations(end, features, targets, loss, seconds)
    best, least = _PENALTIES[0], float("inf")
    if 2 <= int(held.sum()) < len(features):
        rest = features[~held], targets[~held]
        for penalty in _PENALTIES:
            _minimise(end, *rest, loss, penalty, most)
            with torch.no_grad():
                found = float(loss(end(features[held]), targets[held]))
            if found < least:
                best, least = penalty, found
            _set(end.head, start)
    _minimise(end, features, targets, loss, best, most)
    return best


def _evaluations(
    end: HeadOnly, features: Tensor, targets: Tensor, loss: Loss, seconds: float
) -> int | None:
    """Returns the evaluations of the loss for each λ that fit into so many seconds."""
    if seconds == math.inf:
        return None
    with _learning(end.head) as parameters:
        began = time.monotonic()
        torch.autograd.grad(loss(end(features), targets), parameters)
        one = max(time.monotonic() - began, 1e-9)
    return max(_FEWEST, int(seconds / one / (len(_PENALTIES) + 1)))


def _minimise(
    end: HeadOnly,
    features: Tensor,
    targets: Tensor,
    loss: Loss,
    penalty: float,
    most: int | None,
) -> None:
    """Sets the head to the minimum under a penalty, or to the best of so many evaluations."""
    parameters = list(end.head.parameters())

    def evaluate(values: np.ndarray) -> tuple[float, np.ndarray]:
        _put(values, parameters)
        total = loss(end(features), targets)
        total = total + penalty / 2 * sum(p.square().sum() for p in parameters if p.dim() > 1)
        gradient = parameters_to_vector(torch.autograd.grad(total, parameters))
        return float(total.detach()), gradient.double().cpu().numpy()

    # Not torch.optim.LBFGS: making it loads torch's compiler, which takes longer than the fit.
    start = parameters_to_vector(parameters).detach().double().cpu().numpy()
    with _learning(end.head):
        found = minimise(
            evaluate, start, iterations=_ITERATIONS, history=_HISTORY, evaluations=most
        )
    _put(found.x, parameters)


@contextmanager
def _learning(layer: nn.Module) -> Iterator[list[nn.Parameter]]:
    """Lets a layer's parameters have gradients, whatever they are set to, and yields them."""
    parameters = list(layer.parameters())
    taken = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield parameters
    finally:
        for parameter, before in zip(parameters, taken, strict=True):
            parameter.requires_grad_(before)


@torch.no_grad()
def _put(values: np.ndarray, parameters: list[nn.Parameter]) -> None:
    """Writes float64 values, one after the other, into parameters."""
    parts = torch.from_numpy(values).split([p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.copy_(part.view_as(parameter))


@torch.no_grad()
def _set(layer: nn.Module, values: list[Tensor]) -> None:
    for parameter, value in zip(layer.parameters(), values, strict=True):
        parameter.copy_(value)
