"""`landscape`: the loss surface of any network, loss and batches.

The directions (`axes`), what the sweep starts with (`starting_values`), then the sweep itself and,
on request, the Hessian (`curvature`); the network is restored bitwise.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.core.progress import Progress, no_progress
from ravine.kernels.sleeping_threads import sleeps_when_busy
from ravine.landscapes.axes import ChosenDirections, DirectionInputs, choose_directions
from ravine.landscapes.continuation import check_continues, made_of
from ravine.landscapes.curvature import curvature
from ravine.landscapes.deadline import Deadline, check_time
from ravine.landscapes.directions import moved_parameters
from ravine.landscapes.evaluator import GridEvaluator
from ravine.landscapes.node import FixedBatches, LossFunction, NodeLoss, has_batch_norm
from ravine.landscapes.node_pool import open_pool
from ravine.landscapes.plane import Plane, preserve_all_but_weights, preserve_weights
from ravine.landscapes.settings import KINDS, POLICIES, SurfaceSettings
from ravine.landscapes.starting_values import choose_axes, set_precision, trim_batches
from ravine.landscapes.sweep import Sweep
from ravine.landscapes.trajectory import Point
from ravine.runs.surface import Surface

_PASSES = 3  # at the centre, beyond the first
_REPEATS = 1e-4  # relative difference of a loss that is computed twice


@sleeps_when_busy()
def landscape(
    model: nn.Module,
    loss: LossFunction,
    batches: Iterable[Any],
    *,
    trajectory: Sequence[Point] = (),
    steps: Sequence[float] | None = None,
    models: Iterable[nn.Module] = (),
    devices: Sequence[str | torch.device] = (),
    out: str | Path | None = None,
    progress: Progress = no_progress,
    **settings: Any,
) -> Surface:
    """Returns the loss surface around the weights of `model`, which is left bitwise unchanged.

    Args:
        model: any network; dropout is off while the surface is computed.
        loss: `loss(outputs, targets)`: one value for each example, (B,), which gives the best
            standard error of each node, or their mean, a scalar; a metric will do.
        batches: (inputs, targets) or (input, input, …, targets); read once and kept, so that
            every node sees the same ones.
        trajectory: for `along="trajectory"`, the points before the model: safetensors files or
            mappings of names to tensors, the oldest first.
        steps: the epoch or step of each point and of the model itself.
        models: for `along="models"`, the other end of a line, or two for a path between three;
            each is read once, so that a generator may load them one by one.
        devices: that share the nodes; by default all GPUs if the model is on one, else its own.
        out: an .npz to save to on the way; if it exists already, it is continued.
        progress: is called during slow work.
        **settings: of `SurfaceSettings`: along, x, y, nodes, budget, policy, precision,
            most_batches, seed, sharpness, convexity, ray.

    Raises:
        SettingError: a choice that cannot work; no weights; a loss that is not finite at the
            centre; a budget too short for 25 nodes; other batches than those in `out`.
        RunError: `out` or a point of the trajectory cannot be read.
    """
    return compute_surface(
        model,
        loss,
        batches,
        SurfaceSettings.of(settings),
        inputs=DirectionInputs(points=trajectory, steps=steps, models=models),
        devices=devices,
        out=Path(out) if out is not None else None,
        progress=progress,
    )


def compute_surface(
    model: nn.Module,
    loss: LossFunction,
    batches: Iterable[Any],
    settings: SurfaceSettings,
    *,
    inputs: DirectionInputs,
    devices: Sequence[str | torch.device] = (),
    out: Path | None = None,
    progress: Progress = no_progress,
) -> Surface:
    """Returns the loss surface that `settings` describe; see `landscape`."""
    device = next(iter(moved_parameters(model).values())).device
    deadline = Deadline(seconds=settings.budget)
    saved = Surface.load(out) if out is not None and out.exists() else None
    fixed = FixedBatches(batches, most=settings.most_batches, device=device)
    with preserve_all_but_weights(model) as buffers:
        model.requires_grad_(True)
        trim_batches(model, fixed, settings.budget, saved)
        ingredients = made_of(model, fixed, settings, len(inputs.points))
        if saved is not None:
            check_continues(saved, ingredients, out)
        chosen = choose_directions(model, loss, fixed, settings, inputs)
        with preserve_weights(model) as weights:
            evaluator = GridEvaluator(
                model=model,
                plane=Plane(model, weights, chosen.directions),
                loss=loss,
                batches=fixed,
                policy=settings.batch_norm_policy,
                precision=torch.float32,
                buffers=buffers,
            )
            sweep = _prepare(evaluator, chosen, settings, deadline, saved)
            sweep.about["made_of"] = ingredients
            sweep.out, sweep.progress, sweep.points = out, progress, inputs.points
            with open_pool(evaluator, devices, settings.ray) as sweep.pool:
                surface = sweep.run()
            return _with_curvature(sweep, surface, settings, saved)


def _prepare(
    evaluator: GridEvaluator,
    chosen: ChosenDirections,
    settings: SurfaceSettings,
    deadline: Deadline,
    saved: Surface | None,
) -> Sweep:
    centre, cost = set_precision(evaluator, settings.precision)
    _check_repeatable(evaluator, centre)
    check_time(deadline, cost, int(saved.evaluated.sum()) if saved else 0)
    about = _about(evaluator, chosen, settings, centre)
    if saved is not None:
        x, y = saved.x, saved.y
    else:
        x, y, radius = choose_axes(evaluator, chosen, settings, centre.loss)
        about |= {} if radius is None else {"radius": radius}
    sweep = Sweep(
        evaluator=evaluator,
        x=x,
        y=y,
        about=about,
        deadline=deadline,
        progress=no_progress,
        out=None,
        trajectory=chosen.trajectory,
        is_path=len(chosen.directions) == 2 and settings.along == "models",
        node_seconds=cost,
    )
    if saved is not None:
        sweep.continue_from(saved)
    return sweep


def _check_repeatable(evaluator: GridEvaluator, centre: NodeLoss) -> None:
    """Raises `SettingError` if further passes at the centre give another loss.

    One that is not quite the same may be so by chance, and is followed by another.
    """
    for _ in range(_PASSES):
        again = evaluator.loss_at(*evaluator.centre)
        if again.loss == centre.loss:
            return
        if abs(again.loss - centre.loss) > _REPEATS * max(abs(centre.loss), abs(again.loss), 1e-12):
            raise SettingError(
                "the network is noisy in evaluation mode: two passes of the same weights have the "
                f"loss {centre.loss:.6g} and {again.loss:.6g}, which a surface would show; switch "
                "that off in evaluation mode, as F.dropout(x, p, training=self.training) does"
            )


def _about(
    evaluator: GridEvaluator, chosen: ChosenDirections, settings: SurfaceSettings, centre: NodeLoss
) -> dict[str, Any]:
    return {
        "along": settings.along,
        "kind": KINDS[settings.along],
        "policy": settings.batch_norm_policy,
        "policy_text": POLICIES[settings.batch_norm_policy],
        "batch_norm": has_batch_norm(evaluator.model),
        "seed": settings.seed,
        "centre_loss": centre.loss,
        "centre_error": centre.error,
        "count": centre.count,
        "batches": len(evaluator.batches.pairs),
        "precision": str(evaluator.precision).removeprefix("torch."),
        "parameters": sum(p.numel() for p in moved_parameters(evaluator.model).values()),
        **chosen.about,
    }


def _with_curvature(
    sweep: Sweep, surface: Surface, settings: SurfaceSettings, saved: Surface | None
) -> Surface:
    """Returns the surface, with the Hessian's figures where `settings` ask for them."""
    if not (settings.sharpness or settings.convexity):
        return surface
    known = saved.sharpness if saved is not None else {}
    sweep.sharpness = curvature(
        sweep.evaluator, surface, sweep.coordinates, known, settings, sweep.progress
    )
    return sweep.save()
