"""Accuracy of networks by images, kind of data and epochs, as measured, and what a budget gets.

`networks-by-evidence.json` is written by bench/recipes.py: runs with Ravine's defaults, evaluated
on images of their own. Accuracies are by epochs, so they hold on any machine; how many epochs fit
into a budget is measured on the machine at hand. Between cells accuracy is linear in the logarithms
of images and epochs. Beyond the last epochs that were measured it stays as it was there, and the
choice says that it is extrapolated; further off there is no evidence.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import final

import numpy as np

from ravine.core.counted import counted
from ravine.training.network_choice import NetworkChoice

_TABLE = "networks-by-evidence.json"
_SIZES_ALIKE, _CLASSES_ALIKE = 1.3, 2.0  # ratios up to which data is of a measured kind
_EPOCHS_BEYOND = 4.0  # times the most epochs that were measured
_TIED = 0.02  # of accuracy, about what a seed changes: within it the first candidate is taken


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Data as far as it decides about networks.

    Attributes:
        images: that are trained on.
        image_size: pixels a side.
        classes: number of them.
        channels: 1 for grey, 3 for colour; others were not measured.
    """

    images: int
    image_size: int
    classes: int
    channels: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one network reached on one number of images after some epochs.

    Attributes:
        situation: the data.
        model: the network's name.
        epochs: of the runs.
        accuracy: mean over the seeds, 0 to 1.
        seeds: number of runs.
    """

    situation: Situation
    model: str
    epochs: float
    accuracy: float
    seeds: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a network should reach.

    Attributes:
        accuracy: 0 to 1.
        epochs: for which it is.
        extrapolated: whether these are more than were measured.
    """

    accuracy: float
    epochs: float
    extrapolated: bool


@cache
def measured_cells() -> tuple[Cell, ...]:
    """Returns the cells that ship with the package."""
    rows = json.loads(files("ravine.training").joinpath(_TABLE).read_text())["cells"]
    return tuple(
        Cell(
            situation=Situation(**row["situation"]),
            model=row["model"],
            epochs=row["epochs"],
            accuracy=sum(row["accuracies"]) / len(row["accuracies"]),
            seeds=len(row["accuracies"]),
        )
        for row in rows
    )


def predict_accuracy(
    cells: Sequence[Cell], situation: Situation, model: str, epochs: float
) -> Prediction | None:
    """Returns the accuracy to expect; None where no measured cells enclose the situation.

    Args:
        cells: of data of this kind and others.
        situation: the data at hand.
        model: the network's name.
        epochs: that it would make.
    """
    curves = _enclosing_curves(cells, situation, model)
    ends = [end for _, curve in curves if (end := _on_curve(curve, epochs)) is not None]
    if not curves or len(ends) < len(curves):
        return None
    (low, far), (high, further) = ends[0], ends[-1]
    share = _share(situation.images, curves[0][0], curves[-1][0])
    return Prediction(
        accuracy=low + share * (high - low), epochs=epochs, extrapolated=far or further
    )


def _enclosing_curves(
    cells: Sequence[Cell], situation: Situation, model: str
) -> list[tuple[int, dict[float, float]]]:
    """Returns accuracy by epochs at the nearest numbers of images below and above; else nothing.

    Epochs count that all networks of the data have: with a curve that ended sooner than others,
    a network would look worse than it is.
    """
    curves: dict[int, dict[str, dict[float, float]]] = {}
    for cell in _of_kind(cells, situation):
        models = curves.setdefault(cell.situation.images, {})
        models.setdefault(cell.model, {})[cell.epochs] = cell.accuracy
    whole = {
        count: {epochs: models[model][epochs] for epochs in _of_all(models)}
        for count, models in curves.items()
        if model in models and _of_all(models)
    }
    below = [count for count in whole if count <= situation.images]
    above = [count for count in whole if count >= situation.images]
    ends = sorted({max(below), min(above)}) if below and above else []
    return [(count, whole[count]) for count in ends]


def _of_all(models: Mapping[str, Mapping[float, float]]) -> set[float]:
    """Returns the epochs that every network was measured at."""
    return set.intersection(*(set(curve) for curve in models.values()))


def _of_kind(cells: Sequence[Cell], situation: Situation) -> list[Cell]:
    """Returns the cells of the measured kind of data that is nearest, none where none is alike."""

    def distance(cell: Cell) -> float:
        own = cell.situation
        sizes = abs(math.log(own.image_size / situation.image_size)) / math.log(_SIZES_ALIKE)
        classes = abs(math.log(own.classes / situation.classes)) / math.log(_CLASSES_ALIKE)
        return math.inf if own.channels != situation.channels else max(sizes, classes)

    nearest = min(map(distance, cells), default=math.inf)
    return [cell for cell in cells if distance(cell) == nearest] if nearest <= 1 else []


def _on_curve(curve: Mapping[float, float], epochs: float) -> tuple[float, bool] | None:
    """Returns the accuracy at these epochs, and whether they are beyond the measured ones."""
    known = sorted(curve)
    if epochs < known[0] or epochs > _EPOCHS_BEYOND * known[-1]:
        return None
    accuracies = [curve[point] for point in known]
    return float(np.interp(math.log(epochs), np.log(known), accuracies)), epochs > known[-1]


def _share(value: float, low: float, high: float) -> float:
    return math.log(value / low) / math.log(high / low) if high > low else 0.0


def choose_by_evidence(
    cells: Sequence[Cell],
    situation: Situation,
    epochs_of: Callable[[str], float],
    *,
    budget: float,
) -> NetworkChoice | None:
    """Returns the network of the best expected accuracy; None where the evidence does not reach.

    A network is timed only where more than the best so far was ever measured of it.

    Args:
        cells: what was measured.
        situation: the data at hand.
        epochs_of: measures a network and returns the epochs that fit into the budget.
        budget: seconds, for the reason.
    """
    limits = {
        cell.model: max((max(curve.values()) for _, curve in curves), default=0.0)
        for cell in _of_kind(cells, situation)
        if (curves := _enclosing_curves(cells, situation, cell.model))
    }
    if len(limits) < 2:
        return None
    found: dict[str, Prediction] = {}
    for name, limit in limits.items():
        if limit <= max((p.accuracy for p in found.values()), default=0.0) + _TIED:
            continue
        epochs = epochs_of(name)
        prediction = predict_accuracy(cells, situation, name, epochs)
        if prediction is not None:
            found[name] = prediction
        elif epochs > min(max(c) for _, c in _enclosing_curves(cells, situation, name)):
            return None  # more epochs than were measured: it may be the best, or not
    if not found:
        return None
    best = max(prediction.accuracy for prediction in found.values())
    first = next(name for name in found if found[name].accuracy >= best - _TIED)
    others = {name: one for name, one in found.items() if name != first}
    second = max(others, key=lambda name: others[name].accuracy, default=None)
    after = f"next {second}, {_said(others[second])}" if second else "no other reached more"
    return NetworkChoice(
        model=first,
        reason=f"{first}: {_said(found[first])} in {budget:.0f} s here, by measured runs on data "
        f"like this; {after}",
    )


def _said(prediction: Prediction) -> str:
    beyond = ", extrapolated" if prediction.extrapolated else ""
    epochs = counted(prediction.epochs, "epoch", form=".0f")
    return f"about {100 * prediction.accuracy:.0f} % after {epochs}{beyond}"
