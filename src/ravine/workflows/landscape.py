"""The loss surface of a run: its network, its images and its trajectory, handed to landscapes.

It wires and computes nothing; pictures and numbers land in RUN/landscape/.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ravine.core.allowed_code import AllowedCode
from ravine.core.device import pick_device
from ravine.core.errors import RunError, SettingError
from ravine.core.progress import Progress, no_progress
from ravine.core.seeds import generator_for
from ravine.data.batches import evaluation_batches
from ravine.data.opening import open_labelled
from ravine.landscapes.axes import Axis
from ravine.landscapes.loss_surface import landscape
from ravine.reports.hessian_figures import draw_sharpness
from ravine.reports.page import render_report
from ravine.reports.surface_figures import draw_surfaces
from ravine.runs.folder import RunFolder, open_run_folder
from ravine.runs.links import refuse_link
from ravine.runs.recipe_file import read_recipe
from ravine.runs.surface import Surface
from ravine.training.model_file import check_model_code, load_model
from ravine.workflows.run import Run

_BATCH = 100
Batch = tuple[Tensor, Tensor]


def run_surface(
    path: str | Path,
    *,
    along: str = "auto",
    to: Sequence[str | Path] = (),
    data: str | None = None,
    labels: str | None = None,
    images: int = 1000,
    policies: Sequence[str] = (),
    x: Axis | None = None,
    y: Axis | None = None,
    nodes: int = 51,
    budget: float | None = None,
    seed: int = 0,
    sharpness: bool = False,
    convexity: int = 0,
    ray: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    out: str | Path | None = None,
    allow_code: str | Sequence[str] = (),
    progress: Progress = no_progress,
) -> tuple[list[Surface], list[Path]]:
    """Returns the surfaces of a finished run, one per policy, and the files that show them.

    Args:
        path: the run folder.
        along: random, line, trajectory, models or hessian; auto is trajectory where the run
            kept its weights along the way, models where `to` is given, else random.
        to: run folders or model files, for `models`.
        data: labelled images to compute the loss on; by default those of the run's recipe.
        labels: a CSV with their labels.
        images: how many, the same at every node, drawn at random.
        policies: for batch norm; several are drawn side by side.
        x: (from, to, nodes) along the first direction.
        y: the same along the second.
        nodes: of an axis that is found automatically.
        budget: seconds for each policy.
        seed: of directions and images.
        sharpness: also the Hessian's top eigenvalues, trace and density, with their errors.
        convexity: nodes a side of a map of |λ_min/λ_max| of the Hessian; 0 for none.
        ray: address of a Ray cluster that computes the nodes.
        device: auto (all GPUs, else the CPU), cpu, cuda or cuda:N.
        precision: auto, float32 or bfloat16.
        out: a folder; by default RUN/landscape.
        allow_code: the `module:callable` of a network of the user's own, or several.
        progress: told of slow work.

    Raises:
        CodeRefusedError: a network is code that was not allowed; nothing was imported or written.
        RavineError: what cannot work, in one line.
    """
    run = Run.load(path, allow_code=allow_code)
    code = AllowedCode.of(allow_code, run=run.path)
    where = pick_device(device)
    points, epochs = _waypoints(run.path)
    if along == "auto":
        along = "models" if to else "trajectory" if len(points) > 1 else "random"
    if along == "trajectory" and len(points) < 2:
        raise RunError(
            f"{run.path} kept no weights along the way, so it has no trajectory; train again with "
            "--keep-weights 20, or draw random directions: --along random"
        )
    model = run.model.to(where)
    for other in to:
        check_model_code(_model_file(other), code)
    batches = _batches(run, data, labels, images, seed, where, progress)
    folder = Path(out) if out is not None else RunFolder(run.path).surfaces
    if out is None:
        refuse_link(folder)
    folder.mkdir(parents=True, exist_ok=True)
    surfaces, files = [], []
    for policy in policies or (None,):
        file = folder / f"{along}-{policy or 'default'}-{seed}.npz"
        refuse_link(file)
        surfaces.append(
            landscape(
                model,
                _each_image,
                batches,
                along=along,
                trajectory=points if along == "trajectory" else (),
                steps=epochs if along == "trajectory" else None,
                models=(load_model(_model_file(other), code=code).model.to(where) for other in to),
                x=x,
                y=y,
                nodes=nodes,
                budget=budget,
                policy=policy,
                precision=precision,
                seed=seed,
                sharpness=sharpness,
                convexity=convexity,
                devices=() if device == "auto" else (where,),
                ray=ray,
                out=file,
                progress=progress,
            )
        )
        files.append(file)
    name = f"{along}-{'-'.join(policies) or 'default'}-{seed}"
    files += draw_surfaces(surfaces, folder / name, title=run.path.name)
    for surface, policy in zip(surfaces, policies or ("default",), strict=True):
        stem = folder / f"{along}-{policy}-{seed}-sharpness"
        files += draw_sharpness(surface, stem, title=f"{run.path.name}: the Hessian")
    if out is None and RunFolder(run.path).evaluation.is_file():
        files.append(render_report(run.path))
    return surfaces, files


def _each_image(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels, reduction="none")


def _model_file(path: str | Path) -> Path:
    file = Path(path)
    return file if file.is_file() else file / "model.safetensors"


def _waypoints(folder: Path) -> tuple[list[Path], list[float]]:
    """Returns the files, oldest first, and the epoch of each and of the end."""
    paths = sorted(RunFolder(folder).weights.glob("step-*.safetensors"))
    if not paths:
        return [], []
    _, plan = read_recipe(open_run_folder(folder).recipe)
    facts: dict[str, Any] = plan or {}
    per_epoch = float(facts.get("steps_per_epoch", 1))
    rows = [row for row in Run.load(folder).history if row.get("kind") == "epoch"]
    end = float(rows[-1]["epoch"]) if rows else len(paths) / 1.0
    steps = [int(re.sub(r"\D", "", path.stem)) for path in paths]
    return paths, [*(step / per_epoch for step in steps), end]


def _batches(
    run: Run,
    data: str | None,
    labels: str | None,
    images: int,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> list[Batch]:
    if images < 2:
        raise SettingError(f"images must be at least 2, got {images}")
    trained = run.trained
    if data is None:
        settings, _ = read_recipe(open_run_folder(run.path).recipe)
        data, labels = str(settings["data"]), labels or settings.get("labels") or None
    dataset = open_labelled(
        data,
        labels=labels,
        preprocessing=trained.preprocessing,
        classes=trained.classes,
        progress=progress,
    )
    count = len(dataset.labels)
    order = torch.randperm(count, generator=generator_for("landscape images", seed=seed))
    index = np.sort(order[:images].numpy()) if images >= count else order[:images].numpy()
    found = evaluation_batches(
        dataset.images,
        index,
        preprocessing=trained.preprocessing,
        batch=_BATCH,
        device=device,
        labels=np.asarray(dataset.labels),
    )
    return [(batch.images, batch.labels) for batch in found]
