"""A new run, from a recipe to its end: what `train` does once nothing in the recipe is wrong."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ravine.core.allowed_code import AllowedCode
from ravine.core.events import Observer
from ravine.core.progress import Progress
from ravine.core.ranks import join_ranks
from ravine.data.audit import report_audit
from ravine.data.dataset import Dataset
from ravine.ops.kernel_plan import KernelPlan
from ravine.runs.environment import describe_environment
from ravine.runs.folder import RUNS, RunFolder, create_run_folder, next_run_path, refuse_existing
from ravine.runs.kernel_plan_file import write_kernel_plan
from ravine.runs.recipe_file import write_recipe
from ravine.runs.rows import write_json
from ravine.training.plan import Plan
from ravine.workflows.assemble import Assembly, assemble
from ravine.workflows.distributed_session import open_in_turn
from ravine.workflows.recipe import Recipe
from ravine.workflows.run import Run
from ravine.workflows.session import open_session
from ravine.workflows.training_run import train_to_end


def train_new(
    recipe: Recipe,
    plan: Mapping[str, Any] | None,
    *,
    out: str | Path | None,
    code: AllowedCode,
    observers: Sequence[Observer],
    progress: Progress,
    kernels: KernelPlan | None,
) -> Run:
    """Trains a new run to its end and returns it.

    Args:
        recipe: composed and checked.
        plan: that its file has, where it still holds.
        out: the run folder; by default runs/DATA-MODEL-N.
        code: the `module:callable`s that may be imported as the network.
        observers: functions that receive every event.
        progress: receives the progress of slow work.
        kernels: as for `train`.

    Raises:
        RavineError: a mistake in settings, data or run folder; nothing is left half-written.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint is saved.
    """
    recipe.check_network()
    ranks = join_ranks()
    if out is not None and ranks.is_main:
        refuse_existing(Path(out))
    with open_session(observers=observers, progress=progress, ranks=ranks) as session:
        recipe = recipe.with_(threads=session.use_threads(recipe.threads))
        dataset = open_in_turn(recipe, session)
        session.start_clock()
        report_audit(dataset, session.emit)
        planned = Plan.from_values(plan) if plan else None
        assembly = assemble(recipe, dataset, session, plan=planned, kernels=kernels, code=code)
        path = Path(out or next_run_path(RUNS, recipe.data, assembly.recipe.model))
        path = Path(ranks.broadcast_text(str(path)))
        folder = _create(path, assembly, dataset, ranks.size) if ranks.is_main else RunFolder(path)
        session.hold(folder)
        train_to_end(assembly, dataset, folder, session)
    return Run.load(path, allow_code=sorted(code.names))


def _create(path: Path, assembly: Assembly, dataset: Dataset, processes: int) -> RunFolder:
    recipe = assembly.recipe
    facts = describe_environment(
        assembly.device, precision=recipe.precision, threads=recipe.threads
    )
    facts |= {
        "data_fingerprint": dataset.fingerprint,
        "processes": processes,
        "seconds": {"data": dataset.audit.get("seconds")},
        "model": {
            "name": recipe.model,
            "parameters": sum(p.numel() for p in assembly.state.model.parameters()),
            "stem": assembly.stem,
        },
    }

    def fill(new: RunFolder) -> None:
        write_json(new.audit, dataset.audit)
        write_json(new.environment, facts)
        write_kernel_plan(new.kernel_plan, assembly.kernels)
        write_recipe(new.recipe, recipe.model_dump(), assembly.plan.to_values())

    return create_run_folder(path, fill)
