"""A new run, from a recipe to its end: what `train` does once nothing in the recipe is wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ravine.core.allowed_code import AllowedCode
from ravine.core.device import pick_device
from ravine.core.events import Notice, Observer
from ravine.core.progress import Progress, no_progress
from ravine.core.ranks import join_ranks
from ravine.data.audit import report_audit
from ravine.data.dataset import Dataset
from ravine.data.near_duplicates import with_near_duplicates
from ravine.ops.kernel_plan import KernelPlan
from ravine.runs.environment import describe_environment
from ravine.runs.folder import RUNS, RunFolder, create_run_folder, next_run_path, refuse_existing
from ravine.runs.kernel_plan_file import write_kernel_plan
from ravine.runs.recipe_file import write_recipe
from ravine.runs.rows import write_json
from ravine.runs.trained_images import write_trained_images
from ravine.training.plan import Plan
from ravine.workflows.assemble import Assembly, assemble
from ravine.workflows.cross_validation import check_same_images, create_folds, train_folds
from ravine.workflows.cross_validation_result import write_folds_result
from ravine.workflows.data_paths import located, paths_of
from ravine.workflows.data_pictures import keep_data_pictures
from ravine.workflows.distributed_session import open_in_turn
from ravine.workflows.edited_recipe import settings_to_keep
from ravine.workflows.kernel_choice import kernels_to_repeat
from ravine.workflows.recipe import Recipe
from ravine.workflows.run import Run
from ravine.workflows.run_baselines import baselines_of
from ravine.workflows.session import Session, open_session
from ravine.workflows.start_weights import opened_start, write_start
from ravine.workflows.training_run import train_to_end
from ravine.workflows.weights_source import open_weights


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What a training is given beside its recipe; see `train`.

    Attributes:
        repeated: the file of the recipe, where it is followed without a change.
    """

    code: AllowedCode
    observers: Sequence[Observer] = ()
    progress: Progress = no_progress
    kernels: KernelPlan | None = None
    repeated: Path | None = None


def train_new(
    recipe: Recipe, plan: Mapping[str, Any] | None, out: Path | None, parts: TrainOptions
) -> Run:
    """Trains a new run to its end, with all its folds where it has several, and returns it.

    Args:
        recipe: composed and checked.
        plan: that its file has, where it still holds.
        out: the run folder; by default runs/DATA-MODEL-N.
        parts: what else it needs.

    Raises:
        RavineError: a mistake in settings, data or run folder; nothing is left half-written.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint is saved.
    """
    recipe.check_network()
    pick_device(recipe.device)  # one that is not here is refused before anything is decoded
    if recipe.folds is not None and recipe.fold is None:
        path = _train_folds(recipe, out, parts)
    else:
        path = train_recipe(recipe, plan, out, parts)
    return Run.load(path, allow_code=sorted(parts.code.names))


def train_recipe(
    composed: Recipe,
    plan: Mapping[str, Any] | None,
    out: Path | None,
    parts: TrainOptions,
    *,
    folds: RunFolder | None = None,
) -> Path:
    """Trains one network and returns its run folder; see `train`.

    Args:
        composed: the recipe.
        plan: that it was trained by before, if it still holds.
        out: the run folder; by default runs/DATA-MODEL-N.
        parts: what else it needs.
        folds: of the cross-validated run that this is a fold of.

    Raises:
        RunError: the images are not those of the other folds.
    """
    code = parts.code
    ranks = join_ranks()
    if out is not None and ranks.is_main:
        refuse_existing(out)
    with open_session(observers=parts.observers, progress=parts.progress, ranks=ranks) as session:
        composed = composed.with_(threads=session.use_threads(composed.threads))
        kept = None if folds is None else folds.source_weights
        composed, start = opened_start(composed, session, code, kept=kept)
        opened = composed if folds is None else located(composed, folds)
        dataset = _audited(opened, session, folds)
        session.start_clock()
        baselines = baselines_of(composed, dataset) if ranks.is_main else None
        planned = Plan.from_values(plan) if plan else None
        kernels = parts.kernels
        if kernels is None and parts.repeated is not None:
            kernels = kernels_to_repeat(parts.repeated, session)
        assembly = assemble(
            composed, dataset, session, plan=planned, kernels=kernels, code=code, start=start
        )
        path = out or next_run_path(RUNS, composed.data, assembly.recipe.model)
        path = Path(ranks.broadcast_text(str(path)))
        folder = RunFolder(path)
        if ranks.is_main:
            facts = {"processes": ranks.size, "paths": paths_of(opened)}
            folder = _create(path, assembly, dataset, facts)
        session.hold(folder)
        train_to_end(assembly, dataset, folder, session, baselines)
    return path


def _audited(recipe: Recipe, session: Session, folds: RunFolder | None) -> Dataset:
    """Returns the images of a new run, and reports what is odd about them."""
    dataset = open_in_turn(recipe, session)
    if folds is not None:
        check_same_images(folds, dataset.content_fingerprint)
    if session.ranks.is_main:
        dataset = with_near_duplicates(dataset)
    report_audit(dataset, session.emit)
    return dataset


def _train_folds(recipe: Recipe, out: Path | None, parts: TrainOptions) -> Path:
    recipe = recipe.with_(fit=recipe.fit)  # as written, where a recipe without it would crop
    path = out or next_run_path(RUNS, recipe.data, f"{recipe.model}-{recipe.folds}-folds")
    trained = None if recipe.weights is None else open_weights(recipe.weights, code=parts.code)
    folder = create_folds(path, recipe, ranks=join_ranks(), trained=trained)
    with folder.locked():
        train_missing_folds(folder, recipe, parts)
    return path


def train_missing_folds(
    folder: RunFolder,
    recipe: Recipe,
    parts: TrainOptions,
    *,
    go_on: Callable[[RunFolder], None] | None = None,
) -> None:
    """Trains the folds that have not ended, and writes the result of the run.

    Args:
        folder: of the cross-validated run, locked.
        recipe: of all folds.
        parts: what else the trainings need.
        go_on: resumes a fold that was begun; None where none was.
    """

    def train_fold(fold: RunFolder, own: Recipe) -> None:
        for observer in parts.observers:
            text = f"fold {own.fold} of {own.folds}: {fold.path}"
            observer(Notice(text=text, warning=False))
        if go_on is not None and fold.recipe.is_file():
            go_on(fold)
        else:
            train_recipe(own, None, fold.path, parts, folds=folder)

    train_folds(folder, recipe, train_fold)
    write_folds_result(folder, recipe, parts.code, parts.progress)


def _create(path: Path, assembly: Assembly, dataset: Dataset, own: Mapping[str, Any]) -> RunFolder:
    recipe = assembly.recipe
    facts = describe_environment(
        assembly.device, precision=recipe.precision, threads=recipe.threads
    )
    facts |= own
    facts |= {
        "data_fingerprint": dataset.fingerprint,
        "seconds": {"data": dataset.audit.get("seconds")},
        "model": {
            "name": recipe.model,
            "parameters": sum(p.numel() for p in assembly.state.model.parameters()),
            "stem": assembly.stem,
        },
        **settings_to_keep(recipe, assembly.plan),
    }

    def fill(new: RunFolder) -> None:
        write_json(new.audit, dataset.audit)
        keep_data_pictures(new, assembly.training, dataset)
        write_trained_images(new.trained_images, dataset.digests[dataset.splits["train"]])
        write_json(new.environment, facts)
        write_kernel_plan(new.kernel_plan, assembly.kernels)
        write_start(new, assembly.start)
        write_recipe(new.recipe, recipe.model_dump(), assembly.plan.to_values())

    return create_run_folder(path, fill)
