"""What a sweep starts with: the batches that a budget allows, the precision, and the axes."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from ravine.core.device import has_fast_bfloat16, pick_precision
from ravine.core.errors import SettingError
from ravine.core.nested import call_model
from ravine.landscapes.axes import ChosenDirections
from ravine.landscapes.evaluator import GridEvaluator
from ravine.landscapes.node import FixedBatches, NodeLoss
from ravine.landscapes.settings import PLANES, SurfaceSettings
from ravine.runs.surface import Surface

_NODES_WANTED = 200  # of a budget; with fewer, fewer batches are used


def trim_batches(
    model: nn.Module, batches: FixedBatches, budget: float | None, saved: Surface | None
) -> None:
    """Drops the batches that a budget does not allow, or that `saved` did not use.

    Args:
        model: its mode may change.
        batches: changed in place; at least one is kept.
        budget: seconds.
        saved: a surface that is continued.
    """
    if saved is not None:
        del batches.pairs[int(saved.about.get("batches", len(batches.pairs))) :]
    elif budget is not None:
        model.eval()
        inputs, _ = batches.pairs[0]
        with torch.no_grad():
            call_model(model, inputs)
            cost = min(_timed(lambda: call_model(model, inputs))[1] for _ in range(3))
        fits = int(0.8 * budget / (_NODES_WANTED * max(cost, 1e-9)))
        del batches.pairs[max(1, fits) :]


def set_precision(evaluator: GridEvaluator, name: str) -> tuple[NodeLoss, float]:
    """Sets the precision of `evaluator`; returns the loss at the centre and the seconds of a node.

    Args:
        evaluator: of the surface.
        name: float32, bfloat16, or auto: bfloat16 where it is faster and its error at the centre
            is below the standard error there.

    Raises:
        SettingError: the loss at the centre is not finite.
    """
    device, automatic = evaluator.device, name == "auto"
    evaluator.precision = torch.float32 if automatic else pick_precision(name, device)
    centre, cost = _loss_at_centre(evaluator)
    if not math.isfinite(centre.loss):
        raise SettingError(
            f"the loss at the centre is {centre.loss}: a surface around it says nothing; check the "
            "weights, the loss function and the batches"
        )
    if automatic and has_fast_bfloat16(device):
        evaluator.precision = torch.bfloat16
        rough, faster = _loss_at_centre(evaluator)
        if faster < cost and abs(rough.loss - centre.loss) < centre.error:
            return rough, faster
        evaluator.precision = torch.float32
    return centre, cost


def _loss_at_centre(evaluator: GridEvaluator) -> tuple[NodeLoss, float]:
    """Returns the loss and its seconds, after a first call that is not timed."""
    evaluator.loss_at(*evaluator.centre)
    found: tuple[NodeLoss, float] = _timed(lambda: evaluator.loss_at(*evaluator.centre))
    return found


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    found = work()
    return found, time.monotonic() - began


def choose_axes(
    evaluator: GridEvaluator, chosen: ChosenDirections, settings: SurfaceSettings, centre: float
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Returns (X,) and (Y,) coordinates of the nodes, and the radius where it was automatic.

    Args:
        evaluator: of the surface.
        chosen: the directions, with ranges where their kind determines them.
        settings: `x` and `y` take precedence.
        centre: the loss there.
    """
    two, radius = settings.along in PLANES, None
    x, y, nodes = settings.x, settings.y, settings.nodes
    if chosen.ranges is not None:
        first, second = chosen.ranges
        x = x or (*first, nodes)
        y = y or ((*second, nodes) if second else None)
    elif x is None or (two and y is None):
        radius = 1.0
        if settings.budget is not None or settings.along == "hessian":
            radius = automatic_radius(evaluator, centre, two=two)
        x, y = x or (-radius, radius, nodes), y or (-radius, radius, nodes)
    assert x is not None
    return np.linspace(*x), np.linspace(*y) if two and y is not None else np.zeros(1), radius


def automatic_radius(evaluator: GridEvaluator, centre: float, *, two: bool) -> float:
    """Returns the radius at which the loss is ten times `centre`, between 1/16 and 1.

    1 is the radius of the paper's pictures: the direction is as long as the weights.
    """
    ends = [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)] if two else [(1.0,), (-1.0,)]
    radius = 1 / 16
    while radius < 1:
        found = [evaluator.loss_at(*(radius * c for c in end)).loss for end in ends]
        grown = [v for v in found if not math.isfinite(v) or v >= 10 * abs(centre)]
        if len(grown) == len(ends):
            break
        radius *= 2
    return radius
