"""A run, from its last checkpoint to its end: observers, checkpoints, the final evaluation.

`ravine train` and `ravine resume` both end here.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, final

from ravine.core.events import Event, Observer, PlanCorrected, TrainingStarted
from ravine.core.lazy import lazy_module
from ravine.data.dataset import Dataset
from ravine.findings.label_floor import ignorance_of
from ravine.ops.kernel_plan import use_algorithms
from ravine.runs.checkpoints import load_latest, save_checkpoint
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import keep_history_until, read_environment, read_history
from ravine.runs.layers_file import read_layers
from ravine.runs.recipe_file import write_recipe
from ravine.runs.rows import write_json
from ravine.training.baselines import Baselines
from ravine.training.budget import Budget
from ravine.training.checkpointing import Checkpointing
from ravine.training.distributed import copy_start
from ravine.training.divergence import Divergence, Rollback, StopOnDivergence
from ravine.training.loop import Training, fit
from ravine.training.model_file import save_model
from ravine.training.recorder import Recorder
from ravine.training.save_points import SavePoints
from ravine.training.state import CLOCKS, TrainingState
from ravine.training.step_memory import refusing_too_large
from ravine.training.stop import StopRequest, stop_on_signals
from ravine.training.waypoints import Waypoints
from ravine.workflows.assemble import Assembly
from ravine.workflows.best_model import keep_best
from ravine.workflows.distributed_session import refuse_apart
from ravine.workflows.live_findings import LiveFindings
from ravine.workflows.mistakes import LiveMistakes
from ravine.workflows.observers import monitored
from ravine.workflows.recipe import Recipe
from ravine.workflows.run_end import evaluate_run, report_undone_steps, thresholds_of
from ravine.workflows.run_findings import bounds_of, notice
from ravine.workflows.session import Session

if TYPE_CHECKING:
    from ravine.reports import page
else:
    page = lazy_module("ravine.reports.page")


def train_to_end(
    assembly: Assembly,
    dataset: Dataset,
    folder: RunFolder,
    session: Session,
    baselines: Baselines | None = None,
) -> None:
    """Trains a run to its end and writes its results.

    Args:
        assembly: the objects of the run.
        dataset: that it trains on.
        folder: its folder, held by the session.
        session: of this process.
        baselines: of the images that it is evaluated on; only rank 0 has them.

    Raises:
        Interrupted: a stop signal; a checkpoint is saved.
        TrainingDiverged: the run diverged; a checkpoint is saved.
    """
    recipe = assembly.recipe
    with (
        use_algorithms(assembly.kernels.algorithms),
        refusing_too_large(assembly.memory, recipe.model, recipe.batch),
    ):
        _train(assembly, dataset, folder, session)
        _finish(assembly, dataset, folder, session, baselines)
        session.ranks.barrier()


def _train(assembly: Assembly, dataset: Dataset, folder: RunFolder, session: Session) -> None:
    divergence = _divergence(assembly, dataset, folder, session)
    _restore(assembly.state, folder, session)
    if isinstance(divergence, Rollback):
        divergence.points.forget_after(assembly.state.step)
    own = _observers(assembly, folder, session, classes=len(dataset.classes))
    floor = bounds_of(folder, assembly.recipe.model_dump(), len(dataset.classes))["floor"]
    if session.ranks.is_main and floor:
        write_json(folder.environment, read_environment(folder.environment) | {"loss_floor": floor})
    started = _started(assembly, folder, floor)
    for observer in own:
        observer(started)
    session.emit(started)
    budget = Budget(seconds=assembly.recipe.budget, clock=session.clock, ranks=session.ranks)
    with stop_on_signals() as stop, monitored(assembly, folder, session) as watchers:

        def emit(event: Event) -> None:
            for observer in (*own, *watchers):
                observer(event)
            session.emit(event)

        plan = fit(
            _with_mistakes(assembly.training, dataset, folder, session),
            assembly.plan,
            divergence=divergence,
            checkpointing=_checkpointing(assembly, folder, session, stop, emit),
            budget=budget,
            emit=emit,
        )
    if session.ranks.is_main and plan.speed is not None:
        settled = replace(plan, settled=True)
        write_recipe(folder.recipe, assembly.recipe.model_dump(), settled.to_values())


def _with_mistakes(
    training: Training, dataset: Dataset, folder: RunFolder, session: Session
) -> Training:
    """Returns what is trained, whose validation also writes the worst errors; on rank 0 alone."""
    if training.validate is None or not session.ranks.is_main:
        return training
    return replace(training, validate=LiveMistakes(dataset, folder, training.validate))


def _divergence(
    assembly: Assembly, dataset: Dataset, folder: RunFolder, session: Session
) -> Divergence:
    memory = assembly.state.divergence
    if memory is None:
        return StopOnDivergence()
    points = SavePoints(
        folder=folder.save_points, checkpoints=folder.checkpoints, ranks=session.ranks
    )
    ignorance = None
    if dataset.several:
        shares = dataset.labels[dataset.splits["train"]].mean(0).tolist()
        ignorance = ignorance_of(shares, label_smoothing=assembly.recipe.label_smoothing)
    return Rollback(memory, points, classes=len(dataset.classes), ignorance=ignorance)


def _restore(state: TrainingState, folder: RunFolder, session: Session) -> None:
    """Goes on from the newest checkpoint, if there is one; rows of later steps are dropped."""
    found = load_latest(
        folder.checkpoints,
        warn=lambda text: session.notify(text, warning=True),
        use=lambda held: state.load(held.step, held.tensors, held.values),
    )
    if found is not None:
        session.clock.before = state.elapsed
        session.notify(f"going on after step {found.step}")
    ranks = session.ranks
    refuse_apart(ranks, str(state.step), f"the checkpoints in {folder.path}")
    copy_start(ranks, [state.model, *([state.ema.model] if state.ema else [])])
    if not ranks.is_main:
        return
    keep_history_until(folder.history, state.step)


def _observers(
    assembly: Assembly, folder: RunFolder, session: Session, *, classes: int
) -> list[Observer]:
    """Returns what writes the run folder while the run is trained; rank 0 writes."""
    if not session.ranks.is_main:
        return []
    steps_per_epoch = assembly.plan.steps_per_epoch
    return [
        Recorder(path=folder.history, steps_per_epoch=steps_per_epoch),
        Waypoints(
            folder=folder.weights,
            count=assembly.recipe.keep_weights,
            state=assembly.state,
            steps_per_epoch=steps_per_epoch,
        ),
        PlanWriter(folder.recipe, assembly.recipe),
        LiveFindings(folder=folder, classes=classes, emit=session.emit),
    ]


@final
class PlanWriter:
    """Writes a corrected plan into recipe.toml, so that a resumed run replays it."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self._path, self._recipe = path, recipe

    def __call__(self, event: Event) -> None:
        """Writes the recipe where the plan was corrected."""
        if isinstance(event, PlanCorrected):
            write_recipe(self._path, self._recipe.model_dump(), dict(event.plan))


def _started(assembly: Assembly, folder: RunFolder, floor: float) -> TrainingStarted:
    return TrainingStarted(
        step=assembly.state.step,
        total_steps=assembly.plan.end,
        steps_per_epoch=assembly.plan.steps_per_epoch,
        batch=assembly.recipe.batch,
        model=assembly.recipe.model,
        run=str(folder.path),
        loss_floor=floor,
    )


def _checkpointing(
    assembly: Assembly, folder: RunFolder, session: Session, stop: StopRequest, emit: Observer
) -> Checkpointing:
    def write(state: TrainingState) -> Path:
        if not session.ranks.is_main:
            return folder.checkpoints / f"step-{state.step:08d}"
        return save_checkpoint(
            folder.checkpoints, state.step, state.tensors(), state.values(), clocks=CLOCKS
        )

    return Checkpointing(
        write=write,
        every=assembly.recipe.checkpoint_every,
        stop=stop,
        clock=session.clock,
        emit=emit,
        ranks=session.ranks,
    )


def _finish(
    assembly: Assembly,
    dataset: Dataset,
    folder: RunFolder,
    session: Session,
    baselines: Baselines | None,
) -> None:
    trained_in = session.clock.elapsed()
    if assembly.measured is not None:
        assembly.measured.measure_(assembly.state.evaluated)
    thresholds = thresholds_of(assembly, dataset)
    if session.ranks.is_main:
        save_model(
            folder.model,
            assembly.state.evaluated,
            settings=assembly.recipe,
            classes=dataset.classes,
            preprocessing=dataset.preprocessing,
            thresholds=None if thresholds is None else thresholds.values.tolist(),
        )
    found = evaluate_run(assembly, dataset, folder, session, thresholds, baselines)
    if not session.ranks.is_main:
        return
    report_undone_steps(assembly.state, folder, session)
    layers = read_layers(folder.layers)
    classes = len(dataset.classes)
    notice(folder, classes=classes, layers=layers, result=found or {}, emit=session.emit)
    _write_times(folder, trained_in, session.clock.elapsed())
    # The run has ended with its evaluation: all that belongs to it is written before, and the
    # report, which shows it, can be written again.
    best = keep_best(assembly, dataset, folder)
    if found is not None:
        write_json(folder.evaluation, found | {"best": best})
    page.render_report(folder.path, layers=layers)


def _write_times(folder: RunFolder, trained_in: float, elapsed: float) -> None:
    rows = [row for row in read_history(folder.history) if row["kind"] == "epoch"]
    facts = read_environment(folder.environment)
    times = {"training": trained_in, "evaluation": elapsed - trained_in}
    facts["seconds"] = {**facts.get("seconds", {}), **times}
    facts["images_per_second"] = rows[-1].get("images_per_second") if rows else None
    write_json(folder.environment, facts)
