"""`landscape`: the loss surface of any network, loss and batches."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ravine.core.device import has_fast_bfloat16, pick_precision
from ravine.core.errors import SettingError
from ravine.core.progress import Progress, no_progress
from ravine.core.validation import check_choice
from ravine.landscapes.axes import KINDS, PLANES, Axis, Choice, Wish, choose
from ravine.landscapes.curvature import curvature
from ravine.landscapes.directions import moved_parameters
from ravine.landscapes.evaluator import Ground
from ravine.landscapes.node import (
    POLICIES,
    FixedBatches,
    LossFunction,
    answer,
    has_batch_norm,
)
from ravine.landscapes.node_pool import gathered
from ravine.landscapes.plane import Plane, guarded, put_back
from ravine.landscapes.sweep import Deadline, Survey, automatic_radius, check_time
from ravine.landscapes.trajectory import Point
from ravine.runs.surface import Surface

_NODES_WANTED = 200  # of a budget; with fewer, fewer batches are used


def landscape(
    model: nn.Module,
    loss: LossFunction,
    batches: Iterable[Any],
    *,
    along: str = "random",
    trajectory: Sequence[Point] = (),
    steps: Sequence[float] | None = None,
    models: Iterable[nn.Module] = (),
    x: Axis | None = None,
    y: Axis | None = None,
    nodes: int = 51,
    budget: float | None = None,
    policy: str | None = None,
    precision: str = "float32",
    most_batches: int | None = None,
    seed: int = 0,
    sharpness: bool = False,
    convexity: int = 0,
    devices: Sequence[str | torch.device] = (),
    ray: str | None = None,
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
        models: for `models`, one other end of a line, or two for a path between three; each is
            read once, so that a generator may load them one by one.
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
        sharpness: also the Hessian's top eigenvalues, trace and density, each with its error, and
            the curvature along the directions; beyond the budget.
        convexity: also |λ_min/λ_max| of the Hessian on a grid of so many nodes a side.
        devices: that share the nodes; by default all GPUs if the model is on one, else its own.
        ray: address of a Ray cluster that computes the nodes instead, HOST:PORT or `auto`.
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
    _check_numbers(x, y, nodes, convexity)
    device = next(iter(moved_parameters(model).values())).device
    deadline = Deadline(seconds=budget)
    out = Path(out) if out is not None else None
    saved = Surface.load(out) if out is not None and out.exists() else None
    fixed = FixedBatches(batches, most=most_batches, device=device)
    settings = {"along": along, "policy": policy, "seed": seed, "x": x, "y": y, "nodes": nodes}
    wish = Wish(along=along, points=trajectory, steps=steps, models=models, seed=seed)
    with guarded(model) as buffers:
        model.requires_grad_(True)
        _trim(model, fixed, deadline, saved)
        made_of = _made_of(model, fixed, settings, len(trajectory))
        if saved is not None:
            _check_continues(saved, made_of, out)
        choice = choose(model, loss, fixed, wish)
        with put_back(model) as weights:
            ground = Ground(
                model=model,
                plane=Plane(model, weights, choice.directions),
                loss=loss,
                batches=fixed,
                policy=policy,
                precision=torch.float32,
                buffers=buffers,
            )
            survey = _start(ground, choice, settings, deadline, precision, saved)
            survey.about["made_of"] = made_of
            survey.out, survey.progress, survey.points = out, progress, trajectory
            with gathered(ground, devices, ray) as survey.crew:
                surface = survey.run()
            if sharpness or convexity:
                known = saved.sharpness if saved is not None else {}
                survey.sharpness = curvature(
                    ground, surface, survey.spot, known, sharpness, convexity, progress
                )
                surface = survey.finished()
            return surface


def _start(
    ground: Ground,
    choice: Choice,
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
    choice: Choice,
    settings: Mapping[str, Any],
    centre: float,
    about: dict[str, Any],
    deadline: Deadline,
) -> tuple[np.ndarray, np.ndarray]:
    two = settings["along"] in PLANES
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


def _made_of(
    model: nn.Module, batches: FixedBatches, settings: Mapping[str, Any], points: int
) -> dict[str, Any]:
    """Returns what must be the same for a later call to go on."""
    weights = hashlib.sha256()
    for p in moved_parameters(model).values():
        weights.update(_bytes(p))
    made_of = {
        **settings,
        "trajectory points": points,
        "weights": weights.hexdigest()[:16],
        "batches": batches.digest,
    }
    return dict(json.loads(json.dumps(made_of)))


def _check_continues(saved: Surface, made_of: Mapping[str, Any], out: Path | None) -> None:
    before = saved.about.get("made_of", {})
    other = [name for name in made_of if before.get(name) != made_of[name]]
    if not other:
        return
    said = {
        "weights": "other weights",
        "batches": "other batches (they must not differ from call to call)",
    }
    told = [
        said.get(name) or f"{name} {_spelled(before.get(name))}, not {_spelled(made_of[name])}"
        for name in other
    ]
    raise SettingError(
        f"{out} holds a surface of {'; '.join(told)}: ask for the same again to go on with it, "
        "delete it to begin anew, or name another --out"
    )


def _spelled(value: Any) -> str:
    if isinstance(value, list):
        return ":".join(f"{part:g}" for part in value)
    return "automatic" if value is None else str(value)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()


def _check_numbers(x: Axis | None, y: Axis | None, nodes: int, convexity: int) -> None:
    if nodes < 5:
        raise SettingError(f"nodes must be at least 5, got {nodes}")
    if convexity < 0 or convexity == 1:
        raise SettingError(f"convexity must be 0 or at least 2 nodes a side, got {convexity}")
    for name, axis in (("x", x), ("y", y)):
        _check_axis(name, axis)


def _check_axis(name: str, axis: Axis | None) -> None:
    if axis is None:
        return
    low, high, count = axis
    if not (math.isfinite(low) and math.isfinite(high) and low < high and count >= 2):
        raise SettingError(
            f"{name} must be (from, to, nodes) with from < to and at least 2 nodes, got {axis}"
        )
