"""`landscape`: the loss surface of any network, loss and batches."""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ravine.core.checks import check_choice
from ravine.core.device import has_fast_bfloat16, pick_precision
from ravine.core.errors import SettingError
from ravine.core.progress import Progress, no_progress
from ravine.core.seeds import generator_for
from ravine.landscapes.directions import (
    Direction,
    difference,
    moved_parameters,
    random_direction,
)
from ravine.landscapes.node import (
    POLICIES,
    FixedBatches,
    LossFunction,
    answer,
    has_batch_norm,
)
from ravine.landscapes.plane import Plane, held
from ravine.landscapes.sharpness import top_eigenvectors
from ravine.landscapes.survey import (
    Deadline,
    Ground,
    Survey,
    automatic_radius,
    check_time,
)
from ravine.landscapes.trajectory import Point, trajectory_plane
from ravine.runs.surface import Surface

Axis = tuple[float, float, int]
KINDS: Mapping[str, str] = {
    "random": "two random directions, filter-normalised",
    "line": "one random direction, filter-normalised",
    "trajectory": "principal components of the trajectory, about its last point",
    "models": "from model to model",
    "hessian": "eigenvectors of the two largest eigenvalues of the Hessian",
}
_NODES_WANTED = 200  # of a budget; with fewer, fewer batches are used


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """Where the surface lies: directions, and what follows from their kind."""

    directions: list[Direction]
    about: dict[str, Any]
    axes: tuple[Axis, Axis | None] | None = None
    trajectory: dict[str, np.ndarray] | None = None


def landscape(
    model: nn.Module,
    loss: LossFunction,
    batches: Iterable[Any],
    *,
    along: str = "random",
    trajectory: Sequence[Point] = (),
    steps: Sequence[float] | None = None,
    models: Sequence[nn.Module] = (),
    x: Axis | None = None,
    y: Axis | None = None,
    nodes: int = 51,
    budget: float | None = None,
    policy: str | None = None,
    precision: str = "float32",
    most_batches: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Progress = no_progress,
) -> Surface:
    """Returns the loss surface around the weights of `model`, which is left bitwise as it was.

    Args:
        model: any network; dropout is off while the surface is made.
        loss: `loss(outputs, targets)`: one value for each example, which gives the standard
            error of each node its best, or their mean; a metric will do.
        batches: (inputs, targets) or (input, input, …, targets); read once and kept, so that
            every node sees the same ones.
        along: `random`, `line`, `trajectory`, `models` or `hessian`.
        trajectory: for `trajectory`, the points before the model: safetensors files or
            mappings of names to tensors, the oldest first.
        steps: the epoch or step of each point and of the model itself.
        models: for `models`, one other end of a line, or two for a path between three.
        x: (from, to, nodes) along the first direction; by default found automatically.
        y: the same along the second.
        nodes: of an axis that is found automatically.
        budget: seconds; the best picture that they allow, else a fixed grid.
        policy: for batch norm: `running`, `batch` or `re-estimated`. By default `running`,
            and `re-estimated` between models.
        precision: float32, bfloat16, or auto: the fastest whose error at the centre is below
            the standard error there.
        most_batches: how many of the batches to use.
        seed: of random directions.
        out: an .npz to save to as it goes; if it is there already, it is gone on with.
        progress: told of slow work.

    Raises:
        SettingError: a choice that cannot work; no weights; a loss that is not finite at the
            centre; a budget too short for 25 nodes; other batches than those in `out`.
        RunError: `out` or a point of the trajectory cannot be read.
    """
    check_choice("along", along, KINDS)
    policy = policy or ("re-estimated" if along == "models" else "running")
    check_choice("policy", policy, POLICIES)
    for name, axis in (("x", x), ("y", y)):
        _check_axis(name, axis)
    if nodes < 5:
        raise SettingError(f"nodes must be at least 5, got {nodes}")
    device = next(iter(moved_parameters(model).values())).device
    deadline = Deadline(seconds=budget)
    out = Path(out) if out is not None else None
    saved = Surface.load(out) if out is not None and out.exists() else None
    fixed = FixedBatches(batches, most=most_batches, device=device)
    settings = {"along": along, "policy": policy, "seed": seed, "x": x, "y": y, "nodes": nodes}
    with held(model) as weights:
        model.requires_grad_(True)
        _trim(model, fixed, deadline, saved)
        key = _key(model, fixed, settings, len(trajectory))
        if saved is not None and saved.about.get("key") != key:
            raise SettingError(
                f"{out} holds a surface of other weights, batches or settings; pass the same ones "
                "(batches that differ from call to call cannot be gone on with), or another file"
            )
        choice = _choose(model, loss, fixed, along, trajectory, steps, models, seed)
        ground = Ground(
            model=model,
            plane=Plane(model, weights, choice.directions),
            loss=loss,
            batches=fixed,
            policy=policy,
            precision=torch.float32,
            buffers={name: b.clone() for name, b in model.named_buffers()},
        )
        survey = _start(ground, choice, settings, deadline, precision, saved)
        survey.about["key"] = key
        survey.out, survey.progress, survey.points = out, progress, trajectory
        return survey.run()


def _start(
    ground: Ground,
    choice: _Choice,
    settings: Mapping[str, Any],
    deadline: Deadline,
    precision: str,
    saved: Surface | None,
) -> Survey:
    ground.precision, centre, cost = _pick_precision(ground, precision)
    check_time(deadline, cost, int(saved.evaluated.sum()) if saved else 0)
    about: dict[str, Any] = {
        "along": settings["along"],
        "kind": KINDS[settings["along"]],
        "policy": settings["policy"],
        "policy_text": POLICIES[settings["policy"]],
        "batch_norm": has_batch_norm(ground.model),
        "seed": settings["seed"],
        "centre_loss": centre.loss,
        "centre_error": centre.error,
        "count": centre.count,
        "batches": len(ground.batches.pairs),
        "precision": str(ground.precision).removeprefix("torch."),
        "parameters": sum(p.numel() for p in moved_parameters(ground.model).values()),
        **choice.about,
    }
    if saved is not None:
        xs, ys = saved.x, saved.y
    else:
        xs, ys = _axes(ground, choice, settings, centre.loss, about, deadline)
    survey = Survey(
        ground=ground,
        x=xs,
        y=ys,
        about=about,
        deadline=deadline,
        progress=no_progress,
        out=None,
        trajectory=choice.trajectory or {},
        is_path=len(choice.directions) == 2 and settings["along"] == "models",
        cost=cost,
    )
    if saved is not None:
        survey.about["radius"] = saved.about.get("radius")
        survey.go_on_from(saved)
    return survey


def _axes(
    ground: Ground,
    choice: _Choice,
    settings: Mapping[str, Any],
    centre: float,
    about: dict[str, Any],
    deadline: Deadline,
) -> tuple[np.ndarray, np.ndarray]:
    two = settings["along"] in ("random", "trajectory", "hessian")
    x, y, nodes = settings["x"], settings["y"], settings["nodes"]
    if choice.axes is not None:
        x = x or (*choice.axes[0][:2], nodes)
        y = y or ((*choice.axes[1][:2], nodes) if choice.axes[1] else None)
    elif x is None or (two and y is None):
        radius = 1.0
        if deadline.seconds is not None or settings["along"] == "hessian":
            radius = automatic_radius(ground, centre, two=two)
        about["radius"] = radius
        x, y = x or (-radius, radius, nodes), y or (-radius, radius, nodes)
    places = np.linspace(*x)
    return places, np.linspace(*y) if two and y is not None else np.zeros(1)


def _choose(
    model: nn.Module,
    loss: LossFunction,
    batches: FixedBatches,
    along: str,
    points: Sequence[Point],
    steps: Sequence[float] | None,
    models: Sequence[nn.Module],
    seed: int,
) -> _Choice:
    if along == "models":
        return _between(model, models)
    if along == "trajectory":
        return _along_trajectory(model, points, steps)
    if along == "hessian":
        pairs = top_eigenvectors(model, loss, batches, count=2, seed=seed)
        values = [value for value, _ in pairs]
        scale = math.sqrt(sum(float((p.detach().double() ** 2).sum()) for p in model.parameters()))
        directions = [[part * scale for part in vector] for _, vector in pairs]
        about = {
            "eigenvalues": values,
            "labels": [f"eigenvector of {value:.4g}" for value in values],
        }
        return _Choice(directions=directions, about=about)
    chance = generator_for("landscape", seed=seed)
    first = random_direction(model, chance)
    about = {"labels": ["first direction", "second direction"]}
    if along == "line":
        return _Choice(directions=[first], about=about)
    second = random_direction(model, chance, orthogonal_to=first)
    return _Choice(directions=[first, second], about=about)


def _between(model: nn.Module, models: Sequence[nn.Module]) -> _Choice:
    if len(models) not in (1, 2):
        raise SettingError(f"along='models' needs one or two other models, got {len(models)}")
    stations = [model, *models]
    directions = [difference(a, b) for a, b in pairwise(stations)]
    ends = (-0.5, 1.5, 51) if len(models) == 1 else (0.0, 2.0, 51)
    about = {"labels": ["share of the way", ""], "stations": list(range(len(stations)))}
    return _Choice(directions=directions, about=about, axes=(ends, None))


def _along_trajectory(
    model: nn.Module, points: Sequence[Point], steps: Sequence[float] | None
) -> _Choice:
    found = trajectory_plane(model, points)
    axes = []
    widths = np.ptp(found.places, axis=0)
    for axis in range(2):
        low, high = found.places[:, axis].min(), found.places[:, axis].max()
        margin = max(0.25 * widths[axis], 0.2 * widths.max())
        axes.append((float(low - margin), float(high + margin), 51))
    marks = np.arange(len(points) + 1.0) if steps is None else np.asarray(steps, float)
    if len(marks) != len(points) + 1:
        raise SettingError(f"steps must name {len(points) + 1} points, got {len(marks)}")
    shares = [f"{100 * share:.1f} %" for share in found.explained]
    return _Choice(
        directions=found.directions,
        about={
            "explained": list(found.explained),
            "labels": [f"component {n}, {s} of length²" for n, s in enumerate(shares, start=1)],
        },
        axes=(axes[0], axes[1]),
        trajectory={
            "epoch": marks,
            "x": found.places[:, 0].copy(),
            "y": found.places[:, 1].copy(),
            "off_plane": found.off_plane,
        },
    )


def _pick_precision(ground: Ground, name: str) -> tuple[torch.dtype, Any, float]:
    """Returns the precision, the loss at the centre and a node's seconds."""
    here = [0.0] * len(ground.plane.directions)
    ground.precision = torch.float32 if name == "auto" else pick_precision(name, _device(ground))
    ground.at(*here)
    centre, cost = _timed(lambda: ground.at(*here))
    if not math.isfinite(centre.loss):
        raise SettingError(
            f"the loss at the centre is {centre.loss}: a surface around it says nothing; check the "
            "weights, the loss function and the batches"
        )
    if name == "auto" and has_fast_bfloat16(_device(ground)):
        ground.precision = torch.bfloat16
        ground.at(*here)
        rough, faster = _timed(lambda: ground.at(*here))
        if faster < cost and abs(rough.loss - centre.loss) < centre.error:
            return torch.bfloat16, rough, faster
    return ground.precision if name != "auto" else torch.float32, centre, cost


def _device(ground: Ground) -> torch.device:
    return next(ground.model.parameters()).device


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    found = work()
    return found, time.monotonic() - began


def _trim(
    model: nn.Module,
    batches: FixedBatches,
    deadline: Deadline,
    saved: Surface | None,
) -> None:
    """Keeps as many batches as a budget allows with enough nodes, or as many as before."""
    if saved is not None:
        del batches.pairs[int(saved.about.get("batches", len(batches.pairs))) :]
    elif deadline.seconds is not None:
        model.eval()
        inputs, _ = batches.pairs[0]
        with torch.no_grad():
            answer(model, inputs)
            cost = min(_timed(lambda: answer(model, inputs))[1] for _ in range(3))
        fits = int(0.8 * deadline.seconds / (_NODES_WANTED * max(cost, 1e-9)))
        del batches.pairs[max(1, fits) :]


def _key(model: nn.Module, batches: FixedBatches, settings: Mapping[str, Any], points: int) -> str:
    total = hashlib.sha256(f"{sorted(settings.items())}{points}{batches.digest}".encode())
    for p in moved_parameters(model).values():
        total.update(_bytes(p))
    return total.hexdigest()[:16]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()


def _check_axis(name: str, axis: Axis | None) -> None:
    if axis is None:
        return
    low, high, count = axis
    if not (math.isfinite(low) and math.isfinite(high) and low < high and count >= 2):
        raise SettingError(
            f"{name} must be (from, to, nodes) with from < to and at least 2 nodes, got {axis}"
        )
