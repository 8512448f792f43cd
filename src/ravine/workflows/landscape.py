"""The loss surfaces of a run: wires its network, images and trajectory to landscapes.

It computes nothing; pictures and numbers are written to RUN/landscape/.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ravine.core.allowed_code import AllowedCode
from ravine.core.atomic import make_folder
from ravine.core.device import pick_device
from ravine.core.errors import RunError
from ravine.core.paths import usable_path
from ravine.core.progress import Progress, no_progress
from ravine.core.seeds import generator_for
from ravine.data.batches import evaluation_batches
from ravine.data.discovery import find_collection
from ravine.data.network_images import open_reading
from ravine.data.opening import open_dataset
from ravine.data.reading import Reading, read_again
from ravine.kernels.sleeping_threads import sleeps_when_busy
from ravine.landscapes.axes import DirectionInputs
from ravine.landscapes.loss_surface import compute_surface
from ravine.reports.hessian_figures import draw_sharpness
from ravine.reports.page import render_report
from ravine.reports.surface_figures import draw_surfaces
from ravine.runs.folder import RunFolder, open_run_folder
from ravine.runs.links import refuse_link
from ravine.runs.recipe_file import read_recipe
from ravine.runs.surface import Surface
from ravine.training.loss import plain_loss_of_each
from ravine.training.model_file import check_model_code, load_model
from ravine.training.plan import Plan
from ravine.workflows.data_paths import located, refuse_other_data
from ravine.workflows.landscape_settings import RunSurfaceSettings
from ravine.workflows.recipe import Recipe
from ravine.workflows.run import Run

_BATCH = 100
Batch = tuple[Tensor, Tensor]


@sleeps_when_busy()
def run_surface(
    path: str | Path,
    *,
    to: Sequence[str | Path] = (),
    out: str | Path | None = None,
    allow_code: str | Sequence[str] = (),
    progress: Progress = no_progress,
    **settings: Any,
) -> tuple[list[Surface], list[Path]]:
    """Returns the surfaces of a finished run, one for each policy, and the files that show them.

    Args:
        path: the run folder.
        to: run folders or model files, for `along="models"`.
        out: a folder; by default RUN/landscape.
        allow_code: the `module:callable` of a network of the user's own, or several.
        progress: is called during slow work.
        **settings: of `RunSurfaceSettings`.

    Raises:
        CodeRefusedError: a network is code that was not allowed; nothing was imported or written.
        RavineError: what cannot work, in one line.
    """
    asked = RunSurfaceSettings.of(settings)
    run = Run.load(path, allow_code=allow_code)
    code = AllowedCode.of(allow_code, run=run.path)
    device = pick_device(asked.device)
    points, epochs = _waypoints(run.path)
    along = _kind(asked.along, run.path, others=len(to), points=len(points))
    model = run.model.to(device)
    for other in to:
        check_model_code(_model_file(other), code)
    batches = _batches(run, asked, device, progress)
    folder = _surface_folder(run.path, out)
    surfaces, files = [], []
    for policy in asked.policy or (None,):
        file = folder / f"{along}-{policy or 'default'}-{asked.seed}.npz"
        refuse_link(file)
        files.append(file)
        surface = compute_surface(
            model,
            plain_loss_of_each(several=run.trained.several),
            batches,
            asked.of_surface(along, policy),
            inputs=_inputs(along, points, epochs, _models(to, code, device)),
            devices=() if asked.device == "auto" else (device,),
            out=file,
            progress=progress,
        )
        surfaces.append(surface)
    files += _draw(surfaces, folder, along, asked, title=run.path.resolve().name)
    if out is None and RunFolder(run.path).evaluation.is_file():
        files.append(render_report(run.path))
    return surfaces, files


def _kind(along: str, run: Path, *, others: int, points: int) -> str:
    """Returns the kind of directions, chosen by what there is where `along` is auto."""
    if along == "auto":
        along = "models" if others else "trajectory" if points > 1 else "random"
    if along == "trajectory" and points < 2:
        raise RunError(
            f"{run} kept no weights along the way, so it has no trajectory; train again with "
            "--keep-weights 20, or draw random directions: --along random"
        )
    return along


def _models(
    paths: Sequence[str | Path], code: AllowedCode, device: torch.device
) -> Iterator[nn.Module]:
    """Yields the networks of run folders or model files, loaded one by one."""
    for path in paths:
        yield load_model(_model_file(path), code=code).model.to(device)


def _inputs(
    along: str, points: Sequence[Path], epochs: Sequence[float], models: Iterable[nn.Module]
) -> DirectionInputs:
    if along == "trajectory":
        return DirectionInputs(points=points, steps=epochs)
    return DirectionInputs(models=models)


def _surface_folder(run: Path, out: str | Path | None) -> Path:
    folder = RunFolder(run).surfaces if out is None else usable_path("out", out)
    if out is None:
        refuse_link(folder)
    make_folder(folder)
    return folder


def _draw(
    surfaces: Sequence[Surface], folder: Path, along: str, asked: RunSurfaceSettings, *, title: str
) -> list[Path]:
    """Draws the surfaces side by side, and the Hessian of each; returns the files."""
    policies, seed = asked.policy or ("default",), asked.seed
    files = draw_surfaces(surfaces, folder / f"{along}-{'-'.join(policies)}-{seed}", title=title)
    for surface, policy in zip(surfaces, policies, strict=True):
        stem = folder / f"{along}-{policy}-{seed}-sharpness"
        files += draw_sharpness(surface, stem, title=f"{title}: the Hessian")
    return files


def _model_file(path: str | Path) -> Path:
    file = Path(path)
    return file if file.is_file() else file / "model.safetensors"


def _waypoints(folder: Path) -> tuple[list[Path], list[float]]:
    """Returns the files of kept weights, oldest first, and the epoch of each and of the end."""
    named = RunFolder(folder).weights.glob("step-*.safetensors")
    paths = sorted(path for path in named if path.stem.removeprefix("step-").isdecimal())
    if not paths:
        return [], []
    _, plan = read_recipe(open_run_folder(folder).recipe)
    facts: dict[str, Any] = plan or {}
    per_epoch = float(Plan.from_values(facts).steps_per_epoch) if facts else 1.0
    rows = [row for row in Run.load(folder).history if row["kind"] == "epoch"]
    end = float(rows[-1]["epoch"]) if rows else float(len(paths))
    steps = [int(re.sub(r"\D", "", path.stem)) for path in paths]
    return paths, [*(step / per_epoch for step in steps), end]


def _batches(
    run: Run, asked: RunSurfaceSettings, device: torch.device, progress: Progress
) -> list[Batch]:
    """Returns images (B, C, H, W) and targets, (B,) or (B, K), of the same random sample always."""
    trained = run.trained
    dataset = open_reading(
        _found(run, asked, progress),
        preprocessing=trained.preprocessing,
        classes=trained.classes,
        several=trained.several,
        progress=progress,
    )
    count = len(dataset.labels)
    order = torch.randperm(count, generator=generator_for("landscape images", seed=asked.seed))
    index = order[: asked.images].numpy()
    found = evaluation_batches(
        dataset.images,
        np.sort(index) if asked.images >= count else index,
        preprocessing=trained.preprocessing,
        batch=_BATCH,
        device=device,
        labels=np.asarray(dataset.labels),
    )
    return [(batch.images, batch.targets) for batch in found]


def _found(run: Run, asked: RunSurfaceSettings, progress: Progress) -> Reading:
    """Returns other images as they are named, else those of the run.

    Raises:
        RunError: the run's own images are gone, or are not what the run began with.
    """
    classes = run.trained.classes
    if asked.data is not None:
        return read_again(
            run.read_by,
            data=asked.data,
            labels=asked.labels,
            classes=classes,
            given=run.form_of_labels,
            channels=run.trained.preprocessing.channels,
            progress=progress,
        )
    folder = open_run_folder(run.path)
    recipe = located(Recipe.of(read_recipe(folder.recipe)[0]), folder)
    if not recipe.data:
        raise RunError(f"{folder.recipe} names no data; name the images: --data")
    if asked.labels is None:
        refuse_other_data(folder, open_dataset(recipe, seed=recipe.seed, progress=progress))
    else:
        recipe = recipe.with_(labels=asked.labels)
    return Reading(settings=recipe, collection=find_collection(recipe, progress), notes=())
