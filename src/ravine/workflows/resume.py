"""`ravine resume`: goes on with a run; `verify` proves that resuming changes nothing."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ravine.core.allowed_code import AllowedCode
from ravine.core.atomic import disk_error, scratch_folder
from ravine.core.errors import RunError
from ravine.core.events import Notice, Observer
from ravine.core.lazy import lazy_module
from ravine.core.notice_log import log_notice
from ravine.core.progress import Progress, no_progress
from ravine.core.ranks import join_ranks
from ravine.runs.checkpoints import checkpoint_paths, checkpoint_step
from ravine.runs.folder import RunFolder, open_run_folder
from ravine.runs.kernel_plan_file import write_kernel_plan
from ravine.runs.links import links_in, refuse_link, refuse_linked_folders
from ravine.runs.recipe_file import read_recipe
from ravine.training.plan import Plan
from ravine.workflows.assemble import assemble
from ravine.workflows.data_paths import keep_paths, located, refuse_other_data
from ravine.workflows.distributed_session import open_in_turn, threads_on_resume
from ravine.workflows.edited_recipe import refuse_edited
from ravine.workflows.kernel_choice import kernels_on_resume, refuse_other_kernels
from ravine.workflows.new_run import TrainOptions, train_missing_folds
from ravine.workflows.notify import notifying
from ravine.workflows.recipe import Recipe
from ravine.workflows.run import Run
from ravine.workflows.run_baselines import baselines_of
from ravine.workflows.session import Session, open_session
from ravine.workflows.show import Show, showing
from ravine.workflows.start_weights import read_start
from ravine.workflows.tracked import tracked
from ravine.workflows.training_run import train_to_end

if TYPE_CHECKING:
    from ravine.reports import page
    from ravine.trackers.tracker import Logs
else:
    page = lazy_module("ravine.reports.page")


def resume(
    path: str | Path,
    *,
    data: str | Path | None = None,
    allow_code: str | Sequence[str] = (),
    observers: Sequence[Observer] = (),
    progress: Progress = no_progress,
    show: Show = "auto",
    log_to: "str | Logs | Sequence[str | Logs]" = (),
    notify: str | Sequence[str] = (),
) -> Run:
    """Goes on with a run that was stopped or killed, and returns it finished.

    The run ends with bitwise the same model.safetensors as if it had never been stopped, on the
    same machine class, package versions and number of threads.

    Args:
        path: the run folder.
        data: where the data has been moved to; the run keeps it. It has to be the same data.
        allow_code: the `module:callable` that may be imported, where the network is your own.
        observers: receive the events of the training.
        progress: receives the progress of slow work.
        show: what this call shows while it trains, as for `ravine.train`.
        log_to: trackers that get what the run folder gets: tensorboard, mlflow, wandb, trackio, or
            any object with `log(dict, step)`. One that fails is left, and the run goes on.
        notify: a command that is called at the end, as for `ravine.train`.

    Raises:
        RunError: there is no run, its data has changed, its network is code that was not allowed,
            or another process trains it.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint is saved.
    """
    folder = open_run_folder(Path(path), folded=True)
    with (
        showing(show) as screen,
        notifying(notify, [*observers, screen.observe, log_notice]) as notifier,
        tracked(log_to, notifier.observers) as tracking,
    ):
        parts = TrainOptions(
            code=AllowedCode.of(allow_code, run=folder.path),
            observers=[*notifier.observers, notifier, tracking],
            progress=screen.progress if progress is no_progress else progress,
        )
        go_on = _resume_folds if folder.folds else _resume_one
        go_on(folder, parts, data=data)
        run = Run.load(folder.path, allow_code=allow_code)
        notifier.notify("ended", repr(run))
    return run


def _resume_one(folder: RunFolder, parts: TrainOptions, *, data: str | Path | None) -> None:
    """Goes on with a run of one network."""
    settings, plan = read_recipe(folder.recipe)
    recipe = Recipe.of(settings)
    if not folder.has_ended:
        parts.code.check(recipe.model, source=folder.recipe)
        refuse_linked_folders(folder)
    with open_session(
        observers=parts.observers, progress=parts.progress, ranks=join_ranks()
    ) as session:
        session.use_threads(threads_on_resume(recipe, folder, session))
        session.hold(folder)
        if folder.has_ended:
            _report_ended(folder, session)
            return
        refuse_edited(folder, recipe, plan, session)
        opened = located(recipe, folder, data=data)
        dataset = open_in_turn(opened, session)
        refuse_other_data(folder, dataset)
        if data is not None and session.ranks.is_main:
            keep_paths(folder, opened)
        session.start_clock()
        baselines = baselines_of(recipe, dataset) if session.ranks.is_main else None
        planned = Plan.from_values(plan) if plan else None
        kernels = kernels_on_resume(folder, session)
        assembly = assemble(
            recipe,
            dataset,
            session,
            plan=planned,
            kernels=kernels,
            code=parts.code,
            start=read_start(folder, recipe),
        )
        if kernels is None and session.ranks.is_main:
            write_kernel_plan(folder.kernel_plan, assembly.kernels)
        train_to_end(assembly, dataset, folder, session, baselines)


def _resume_folds(folder: RunFolder, parts: TrainOptions, *, data: str | Path | None) -> None:
    """Goes on with a cross-validated run: the fold that was begun, then those that are missing."""
    recipe = Recipe.of(read_recipe(folder.recipe)[0])
    parts.code.check(recipe.model, source=folder.recipe)
    if join_ranks().size > 1:
        raise RunError(f"{folder.path} is cross-validated, by one process; go on without torchrun")

    def go_on(fold: RunFolder) -> None:
        refuse_link(fold.path)
        _resume_one(open_run_folder(fold.path), parts, data=data)

    with folder.locked():
        if data is not None:
            keep_paths(folder, located(recipe, folder, data=data))
        if folder.evaluation.is_file():
            for observer in parts.observers:
                observer(
                    Notice(text=f"{folder.path} has ended already; nothing to do", warning=False)
                )
        else:
            train_missing_folds(folder, recipe, parts, go_on=go_on)


def _report_ended(folder: RunFolder, session: Session) -> None:
    session.notify(_ended(folder))
    if session.ranks.is_main and not _has_report(folder):
        page.render_report(folder.path)


def _ended(folder: RunFolder) -> str:
    """Returns the line of a run that has ended, with the command that trains it further."""
    return (
        f"{folder.path} has ended already; nothing to do. To train it further: "
        f"ravine train --weights {folder.path} --epochs 10"
    )


def _has_report(folder: RunFolder) -> bool:
    """Returns whether there is a report, and not one of before the evaluation."""
    report, evaluation = folder.report, folder.evaluation
    return report.is_file() and report.stat().st_mtime_ns >= evaluation.stat().st_mtime_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether a resumed copy ended with the same weights."""

    same: bool
    from_step: int
    total_steps: int


def verify(
    path: str | Path,
    *,
    from_start: bool = False,
    allow_code: str | Sequence[str] = (),
    observers: Sequence[Observer] = (),
    progress: Progress = no_progress,
) -> Verification:
    """Resumes a copy of a finished run and compares its weights with the run's, bit for bit.

    Args:
        path: the run folder.
        from_start: train the copy from step 0 and not from its oldest checkpoint.
        allow_code: the `module:callable` that may be imported, where the network is your own.
        observers: receive the events of the copy's training.
        progress: receives the progress of slow work.

    Raises:
        RunError: the run has not ended, its network is code that was not allowed, or this machine
            cannot run the kernels of its plan.
    """
    folder = open_run_folder(Path(path))
    if not folder.model.is_file():
        raise RunError(f"{path} has not ended; first ravine resume {path}")
    refuse_other_kernels(folder)
    settings, _ = read_recipe(folder.recipe)
    AllowedCode.of(allow_code).check(Recipe.of(settings).model, source=folder.recipe)
    whole = folder.path.resolve()
    with _scratch(whole) as scratch:
        copy = scratch / whole.name
        shutil.copytree(whole, copy, ignore=links_in)
        copied = RunFolder(copy)
        _, plan = read_recipe(copied.recipe)
        end = Plan.from_values(plan or {}).end
        start = _keep_for_replay(copied, end=end, from_start=from_start)
        for file in (copied.model, copied.evaluation):
            file.unlink(missing_ok=True)
        resume(copy, allow_code=allow_code, observers=observers, progress=progress, show="none")
        same = copied.model.read_bytes() == folder.model.read_bytes()
    return Verification(same=same, from_step=start, total_steps=end)


@contextmanager
def _scratch(run: Path) -> Iterator[Path]:
    """Gives an empty folder next to a run; it is removed at the end.

    Raises:
        RunError: the disk is full or read-only.
    """
    path = run.with_name(f"{run.name}.verify")
    try:
        with scratch_folder(path) as scratch:
            yield scratch
    except (OSError, shutil.Error) as error:
        raise disk_error(path, error) from error


def _keep_for_replay(copied: RunFolder, *, end: int, from_start: bool) -> int:
    """Leaves only the oldest checkpoint before the end, and returns its step."""
    paths = checkpoint_paths(copied.checkpoints)
    steps = [checkpoint_step(path) for path in paths]
    kept = None if from_start else min((s for s in steps if s < end), default=None)
    for path, step in zip(paths, steps, strict=True):
        if step != kept:
            shutil.rmtree(path)
    return kept or 0
