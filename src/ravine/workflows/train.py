"""The one place where rooms meet: settings -> objects -> run -> run folder.

`train` begins a run, `resume` goes on with one, `verify` proves that resuming changes
nothing. Each sets up the same objects from a recipe and hands them to the loop.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ravine.core.device import threads_of_rank
from ravine.core.errors import RunError
from ravine.core.events import Event, Notice, Observer, TrainingStarted
from ravine.core.progress import Progress, no_progress
from ravine.core.ranks import ALONE, Ranks, join_ranks
from ravine.data.audit import tell_audit
from ravine.data.dataset import Dataset
from ravine.reports import render_report
from ravine.runs.checkpoints import checkpoint_paths, load_latest, save_checkpoint
from ravine.runs.environment import describe_environment
from ravine.runs.folder import (
    RunFolder,
    create_run_folder,
    next_run_path,
    open_run_folder,
    refuse_existing,
)
from ravine.runs.layers_file import read_layers
from ravine.runs.recipe_file import read_recipe, write_recipe
from ravine.runs.rows import read_json, read_rows, rewrite_rows, write_json
from ravine.training.clock import Clock
from ravine.training.distributed import copy_start
from ravine.training.guard import Guard
from ravine.training.loop import Hooks, fit
from ravine.training.model_file import save_model
from ravine.training.plan import Plan, correct_plan, is_time_to_correct
from ravine.training.recorder import Recorder
from ravine.training.rollback import Rollback
from ravine.training.save_points import SavePoints
from ravine.training.state import TrainingState
from ravine.training.stop import stop_on_signals
from ravine.training.waypoints import Waypoints
from ravine.workflows.assemble import Setup, set_up
from ravine.workflows.distributed_session import (
    held_together,
    open_in_turn,
    refuse_apart,
    threads_on_resume,
)
from ravine.workflows.final_evaluation import evaluate_run, tell_undone_steps
from ravine.workflows.observers import watching
from ravine.workflows.recipe import Recipe, compose
from ravine.workflows.run import Run
from ravine.workflows.run_findings import notice

_RUNS = Path("runs")


def train(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    recipe: str | Path | None = None,
    observers: Sequence[Observer] = (),
    progress: Progress = no_progress,
    **settings: Any,
) -> Run:
    """Trains a classifier on labelled images and returns the finished run.

    Args:
        data: a folder with one folder per class, a folder of images with `labels=`, tar
            shards, IDX or CIFAR files, an .npz, or `@fashion`, the sample that ships with Ravine.
        out: the run folder; by default runs/DATA-MODEL-N.
        recipe: a recipe's name or a recipe.toml; `settings` are changes to it.
        observers: functions that are told of every event.
        progress: told of slow work such as decoding.
        **settings: any setting of `Recipe`, such as model, optimizer, lr, epochs, budget.

    Raises:
        RavineError: a mistake in settings, data or run folder; nothing is left half-written.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint is saved.
    """
    if data is not None:
        settings["data"] = str(data)
    composed, plan = compose(recipe, settings)
    composed.check_network()
    ranks = join_ranks()
    if out is not None and ranks.leads:
        refuse_existing(Path(out))
    with _own_random_state(), _threads(composed.threads, ranks) as threads:
        composed = composed.with_(threads=threads)
        observers = observers if ranks.leads else ()
        tell = _teller(observers)
        dataset = open_in_turn(composed, ranks, progress)
        clock = Clock()
        tell_audit(dataset, tell)
        setup = set_up(composed, dataset, plan=_plan(plan), tell=tell, clock=clock, ranks=ranks)
        model = setup.recipe.model
        path = Path(out) if out is not None else next_run_path(_RUNS, composed.data, model)
        path = Path(ranks.agree_on_text(str(path)))
        folder = _create(path, setup, dataset) if ranks.leads else RunFolder(path)
        with held_together(folder, ranks):
            _train_to_end(setup, dataset, folder, observers=observers, clock=clock)
    return Run.load(path)


def resume(
    path: str | Path,
    *,
    observers: Sequence[Observer] = (),
    progress: Progress = no_progress,
) -> Run:
    """Goes on with a run that was stopped or killed, and returns it finished.

    The run ends with bitwise the same model.safetensors as if it had never been stopped, on the
    same machine class, package versions and number of threads.

    Raises:
        RunError: there is no run, its data has changed, or another process trains it.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint is saved.
    """
    folder = open_run_folder(Path(path))
    settings, plan = read_recipe(folder.recipe)
    recipe = Recipe.of(settings)
    ranks = join_ranks()
    observers = observers if ranks.leads else ()
    tell = _teller(observers)
    threads = threads_on_resume(recipe, folder, ranks, tell)
    with held_together(folder, ranks), _own_random_state(), _threads(threads, ranks):
        if folder.evaluation.is_file() and folder.model.is_file():
            tell(Notice(text=f"{folder.path} has ended already; nothing to do"))
            if not folder.report.is_file() and ranks.leads:
                render_report(folder.path)
            return Run.load(folder.path)
        dataset = open_in_turn(recipe, ranks, progress)
        _refuse_other_data(folder, dataset)
        clock = Clock()
        setup = set_up(recipe, dataset, plan=_plan(plan), tell=tell, clock=clock, ranks=ranks)
        _train_to_end(setup, dataset, folder, observers=observers, clock=clock)
    return Run.load(folder.path)


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
    observers: Sequence[Observer] = (),
    progress: Progress = no_progress,
) -> Verification:
    """Resumes a copy of a finished run and compares its weights with the run's, bit for bit.

    Args:
        path: the run folder.
        from_start: train the copy from step 0 and not from its oldest checkpoint.
        observers: told of the copy's training.
        progress: told of slow work.

    Raises:
        RunError: the run has not ended.
    """
    folder = open_run_folder(Path(path))
    if not folder.model.is_file():
        raise RunError(f"{path} has not ended; first ravine resume {path}")
    with tempfile.TemporaryDirectory(dir=folder.path.parent, prefix=".verify-") as place:
        copy = Path(place) / folder.path.name
        shutil.copytree(folder.path, copy)
        copied = RunFolder(copy)
        _, plan = read_recipe(copied.recipe)
        end = Plan.from_values(plan or {}).end
        start = _keep_for_replay(copied, end=end, from_start=from_start)
        for file in (copied.model, copied.evaluation):
            file.unlink(missing_ok=True)
        resume(copy, observers=observers, progress=progress)
        same = copied.model.read_bytes() == folder.model.read_bytes()
    return Verification(same=same, from_step=start, total_steps=end)


def _keep_for_replay(copied: RunFolder, *, end: int, from_start: bool) -> int:
    """Leaves only the oldest checkpoint before the end, and returns its step."""
    paths = checkpoint_paths(copied.checkpoints)
    steps = [int(path.name.removeprefix("step-")) for path in paths]
    kept = None if from_start else min((s for s in steps if s < end), default=None)
    for path, step in zip(paths, steps, strict=True):
        if step != kept:
            shutil.rmtree(path)
    return kept or 0


def _train_to_end(
    setup: Setup,
    dataset: Dataset,
    folder: RunFolder,
    *,
    observers: Sequence[Observer],
    clock: Clock,
) -> None:
    tell = _teller(observers)
    state, recipe, ranks = setup.state, setup.recipe, setup.ranks
    rollback = _rollback(setup, dataset, folder)
    _restore(state, folder, clock, tell, ranks)
    if rollback is not None:
        rollback.points.forget_after(state.step)
    recorder = Recorder(path=folder.history, steps_per_epoch=setup.plan.steps_per_epoch)
    waypoints = Waypoints(
        folder=folder.weights,
        count=recipe.keep_weights,
        state=state,
        steps_per_epoch=setup.plan.steps_per_epoch,
    )
    started = TrainingStarted(
        step=state.step,
        total_steps=setup.plan.end,
        steps_per_epoch=setup.plan.steps_per_epoch,
        batch=recipe.batch,
        model=recipe.model,
    )
    own: list[Observer] = [recorder, waypoints] if ranks.leads else []
    if ranks.leads:
        waypoints(started)
    tell(started)

    def save(state: TrainingState) -> Path:
        if not ranks.leads:
            return folder.checkpoints / f"step-{state.step:08d}"
        return save_checkpoint(folder.checkpoints, state.step, state.tensors(), state.values())

    def correct(plan: Plan, step_seconds: float) -> Plan:
        budget = recipe.budget
        elapsed, step_seconds = ranks.agree(clock.elapsed(), step_seconds)
        if budget is None or not is_time_to_correct(plan, state.step, elapsed / budget):
            return plan
        corrected = correct_plan(
            plan, step=state.step, step_seconds=step_seconds, seconds_left=budget - elapsed
        )
        if ranks.leads:
            write_recipe(folder.recipe, recipe.model_dump(), corrected.to_values())
        tell(Notice(text=f"plan corrected once: {plan.end} steps become {corrected.end}"))
        return corrected

    with stop_on_signals() as stop, watching(setup, folder) as watchers:
        fit(
            state,
            setup.batches,
            forward=setup.forward,
            rules=setup.rules,
            plan=setup.plan,
            schedules=setup.schedules,
            hooks=Hooks(validate=setup.validate, save=save, correct=correct),
            observers=[*own, *watchers, *observers],
            stop=stop,
            clock=clock,
            checkpoint_every=recipe.checkpoint_every,
            ranks=ranks,
            rollback=rollback,
        )
    _finish(setup, dataset, folder, tell=tell, clock=clock)
    ranks.wait()


def _rollback(setup: Setup, dataset: Dataset, folder: RunFolder) -> Rollback | None:
    if setup.recipe.on_divergence == "stop":
        return None
    setup.state.guard = Guard()
    points = SavePoints(
        folder=folder.save_points, checkpoints=folder.checkpoints, ranks=setup.ranks
    )
    return Rollback(setup.state.guard, points, classes=len(dataset.classes))


def _finish(
    setup: Setup, dataset: Dataset, folder: RunFolder, *, tell: Observer, clock: Clock
) -> None:
    trained_in = clock.elapsed()
    if not setup.ranks.leads:
        evaluate_run(setup, dataset, folder)
        return
    save_model(
        folder.model,
        setup.state.evaluated,
        settings=setup.recipe,
        classes=dataset.classes,
        preprocessing=dataset.preprocessing,
    )
    evaluate_run(setup, dataset, folder)
    tell_undone_steps(setup.state, folder, tell)
    layers = read_layers(folder.layers)
    notice(folder, classes=len(dataset.classes), layers=layers, tell=tell)
    elapsed = clock.elapsed()
    rows = [row for row in read_rows(folder.history) if row.get("kind") == "epoch"]
    facts = read_json(folder.environment)
    facts["seconds"] |= {"training": trained_in, "evaluation": elapsed - trained_in}
    facts["images_per_second"] = rows[-1]["images_per_second"] if rows else None
    write_json(folder.environment, facts)
    render_report(folder.path, layers=layers)


def _create(path: Path, setup: Setup, dataset: Dataset) -> RunFolder:
    facts = describe_environment(
        setup.device, precision=setup.recipe.precision, threads=setup.recipe.threads
    )
    facts |= {
        "data_fingerprint": dataset.fingerprint,
        "processes": setup.ranks.size,
        "seconds": {"data": dataset.audit.get("seconds")},
        "model": {
            "name": setup.recipe.model,
            "parameters": sum(p.numel() for p in setup.state.model.parameters()),
            "stem": setup.stem,
        },
    }

    def fill(beside: RunFolder) -> None:
        write_json(beside.audit, dataset.audit)
        write_json(beside.environment, facts)
        write_recipe(beside.recipe, setup.recipe.model_dump(), setup.plan.to_values())

    return create_run_folder(path, fill)


def _restore(
    state: TrainingState, folder: RunFolder, clock: Clock, tell: Observer, ranks: Ranks
) -> None:
    found = load_latest(folder.checkpoints, tell=lambda text: tell(Notice(text=text, warning=True)))
    if found is not None:
        state.load(found.step, found.tensors, found.values)
        clock.before = state.elapsed
        tell(Notice(text=f"going on after step {found.step}"))
    refuse_apart(ranks, str(state.step), f"the checkpoints in {folder.path}")
    copy_start(ranks, [state.model, *([state.ema.model] if state.ema else [])])
    if not ranks.leads:
        return
    kept = [row for row in read_rows(folder.history) if row.get("step", 0) <= state.step]
    if folder.history.exists():
        rewrite_rows(folder.history, kept)


def _refuse_other_data(folder: RunFolder, dataset: Dataset) -> None:
    before = read_json(folder.environment).get("data_fingerprint")
    if before != dataset.fingerprint:
        raise RunError(
            f"{folder.path}: the data is not what the run began with; put the old images back, "
            f"or begin anew: ravine train --recipe {folder.recipe}"
        )


def _plan(values: dict[str, Any] | None) -> Plan | None:
    return Plan.from_values(values) if values else None


def _teller(observers: Sequence[Observer]) -> Observer:
    def tell(event: Event) -> None:
        for observer in observers:
            observer(event)

    return tell


@contextmanager
def _own_random_state() -> Iterator[None]:
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=list(devices)):
        yield


@contextmanager
def _threads(number: int, ranks: Ranks = ALONE) -> Iterator[int]:
    before = torch.get_num_threads()
    # torchrun tells OpenMP to use one thread, whatever the machine has.
    torch.set_num_threads(threads_of_rank(number, ranks) if ranks.size > 1 else number or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
