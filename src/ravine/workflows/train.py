"""`ravine train`: a recipe and a data set become a run folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ravine.core.allowed_code import AllowedCode
from ravine.core.device import pick_device
from ravine.core.events import Observer
from ravine.core.paths import usable_path
from ravine.core.progress import Progress, no_progress
from ravine.core.ranks import join_ranks
from ravine.data.audit import report_audit
from ravine.data.dataset import Dataset
from ravine.ops.kernel_plan import KernelPlan
from ravine.runs.environment import describe_environment
from ravine.runs.folder import RunFolder, create_run_folder, next_run_path, refuse_existing
from ravine.runs.kernel_plan_file import write_kernel_plan
from ravine.runs.recipe_file import write_recipe
from ravine.runs.rows import write_json
from ravine.training.plan import Plan
from ravine.workflows.assemble import Assembly, assemble
from ravine.workflows.distributed_session import open_in_turn
from ravine.workflows.edited_recipe import settings_to_keep
from ravine.workflows.recipe import compose
from ravine.workflows.run import Run
from ravine.workflows.session import open_session
from ravine.workflows.training_run import train_to_end

_RUNS = Path("runs")


def train(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    recipe: str | Path | None = None,
    allow_code: str | Sequence[str] = (),
    observers: Sequence[Observer] = (),
    progress: Progress = no_progress,
    kernels: KernelPlan | None = None,
    **settings: Any,
) -> Run:
    """Trains a classifier on labelled images and returns the finished run.

    Args:
        data: a folder with one folder per class, a folder of images with `labels=`, tar
            shards, IDX or CIFAR files, an .npz, or `@fashion`, the sample that ships with Ravine.
        out: the run folder; by default runs/DATA-MODEL-N.
        recipe: a recipe's name or a recipe.toml; `settings` are changes to it.
        allow_code: the `module:callable` that may be imported where the recipe names one as its
            network; one that is given as `model=` needs no more.
        observers: functions that receive every event.
        progress: receives the progress of slow work such as decoding.
        kernels: the algorithms of the network's convolutions, decided already, as a race does.
        **settings: any setting of `Recipe`, such as model, optimizer, lr, epochs, budget.

    Raises:
        RavineError: a mistake in settings, data or run folder; nothing is left half-written.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint is saved.
    """
    if data is not None:
        settings["data"] = str(data)
    code = AllowedCode.of(allow_code, typed=[settings.get("model")])
    composed, plan = compose(recipe, settings, code=code)
    composed.check_network()
    pick_device(composed.device)  # one that is not here is refused before anything is decoded
    given_path = None if out is None else usable_path("out", out)
    ranks = join_ranks()
    if given_path is not None and ranks.is_main:
        refuse_existing(given_path)
    with open_session(observers=observers, progress=progress, ranks=ranks) as session:
        composed = composed.with_(threads=session.use_threads(composed.threads))
        dataset = open_in_turn(composed, session)
        session.start_clock()
        report_audit(dataset, session.emit)
        planned = Plan.from_values(plan) if plan else None
        assembly = assemble(composed, dataset, session, plan=planned, kernels=kernels, code=code)
        path = given_path or next_run_path(_RUNS, composed.data, assembly.recipe.model)
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
        **settings_to_keep(recipe, assembly.plan),
    }

    def fill(new: RunFolder) -> None:
        write_json(new.audit, dataset.audit)
        write_json(new.environment, facts)
        write_kernel_plan(new.kernel_plan, assembly.kernels)
        write_recipe(new.recipe, recipe.model_dump(), assembly.plan.to_values())

    return create_run_folder(path, fill)
