"""Head first: a linear head is fitted to features before anything else moves.

A fresh head sends random gradients through trained layers and undoes part of them in the first
steps (Kumar et al., "Fine-tuning can distort pretrained features", ICLR 2022: first a linear probe,
then all). The head is the minimum of the run's own loss plus λ/2·‖W‖², found by L-BFGS; λ is the
one of a few under which a fifth of the images, held out, have the least loss.

Shape letters: N images, F features, K classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ravine.nn.head import LAYERS
from ravine.training.features import HeadOnly
from ravine.training.loss import Loss

_PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
_HELD_OUT = 5  # one of so many images
_ITERATIONS = 60


def fit_head_(end: HeadOnly, features: Tensor, targets: Tensor, loss: Loss) -> float:
    """Sets the head's weights to the fitted ones, and returns λ.

    Args:
        end: the network from its head on; a linear layer or a convolution.
        features: (N, F) float32, on the head's device.
        targets: (N,) labels or (N, K) shares, as `loss` takes them.
        loss: of logits and targets, a mean over images.

    Raises:
        ValueError: the head is no layer with a weight.
    """
    if not isinstance(end.head, LAYERS):
        raise ValueError(f"a {type(end.head).__name__} is no head that can be fitted")
    start = [parameter.detach().clone() for parameter in end.head.parameters()]
    held = torch.arange(len(features), device=features.device) % _HELD_OUT == 0
    best, least = _PENALTIES[0], float("inf")
    if 2 <= int(held.sum()) < len(features):
        for penalty in _PENALTIES:
            _minimise(end, features[~held], targets[~held], loss, penalty)
            with torch.no_grad():
                found = float(loss(end(features[held]), targets[held]))
            if found < least:
                best, least = penalty, found
            _set(end.head, start)
    _minimise(end, features, targets, loss, best)
    return best


def _minimise(end: HeadOnly, features: Tensor, targets: Tensor, loss: Loss, penalty: float) -> None:
    parameters = list(end.head.parameters())
    taken = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=_ITERATIONS, history_size=20, line_search_fn="strong_wolfe"
    )
    optimizer.step(_closure(end, features, targets, loss, penalty, optimizer))
    for parameter, before in zip(parameters, taken, strict=True):
        parameter.grad = None
        parameter.requires_grad_(before)


def _closure(
    end: HeadOnly,
    features: Tensor,
    targets: Tensor,
    loss: Loss,
    penalty: float,
    optimizer: torch.optim.Optimizer,
) -> Callable[[], float]:
    def evaluate() -> float:
        optimizer.zero_grad()
        weights = [p for p in end.head.parameters() if p.dim() > 1]
        found = loss(end(features), targets)
        total = found + penalty / 2 * sum(w.square().sum() for w in weights)
        total.backward()
        return float(total.detach())

    return evaluate


@torch.no_grad()
def _set(layer: nn.Module, values: list[Tensor]) -> None:
    for parameter, value in zip(layer.parameters(), values, strict=True):
        parameter.copy_(value)
