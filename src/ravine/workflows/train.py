"""`ravine train`: a recipe and a data set become a run folder.

What a mistake in settings, paths or names stops is found here, before torch is loaded; `new_run`
does the rest.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ravine.core.allowed_code import AllowedCode
from ravine.core.launch import is_secondary_process
from ravine.core.lazy import lazy_module
from ravine.core.notice_log import log_notice
from ravine.core.paths import usable_path
from ravine.core.progress import Progress, no_progress
from ravine.data.location import refuse_missing
from ravine.runs.folder import refuse_existing
from ravine.workflows.going_on import going_on
from ravine.workflows.notify import notifying
from ravine.workflows.recipe import compose
from ravine.workflows.recipe_types import RecipeSettings
from ravine.workflows.show import Show, showing
from ravine.workflows.tracked import tracked
from ravine.workflows.weights_path import refuse_missing_weights

if TYPE_CHECKING:
    from ravine.core.events import Observer
    from ravine.ops.kernel_plan import KernelPlan
    from ravine.trackers.tracker import Logs
    from ravine.workflows import new_run
    from ravine.workflows.run import Run
else:
    new_run = lazy_module("ravine.workflows.new_run")


def train(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    recipe: str | Path | None = None,
    allow_code: str | Sequence[str] = (),
    observers: "Sequence[Observer]" = (),
    progress: Progress = no_progress,
    show: Show = "auto",
    log_to: "str | Logs | Sequence[str | Logs]" = (),
    notify: str | Sequence[str] = (),
    kernels: "KernelPlan | None" = None,
    **settings: Unpack[RecipeSettings],
) -> "Run":
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
        show: what this call shows while it trains: terminal (a moving line), notebook (a table),
            plain (lines on standard error), none, or auto: what fits. Notices go to the logger
            `ravine` too.
        log_to: trackers that get what the run folder gets: tensorboard, mlflow, wandb, trackio, or
            any object with `log(dict, step)`. One that fails is left, and the run goes on.
        notify: a command, as text or as its words, that is called with what happened when the run
            ends or fails, and at a critical finding.
        kernels: the algorithms of the network's convolutions, decided already, as a race does.
        **settings: any setting of `Recipe`, such as model, optimizer, lr, epochs, budget.

    Raises:
        RavineError: a mistake in settings, data or run folder; nothing is left half-written.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint is saved.
    """
    changes: dict[str, Any] = {**settings}
    if data is not None:
        changes["data"] = str(data)
    code = AllowedCode.of(allow_code, typed=[changes.get("model")])
    composed, plan = compose(recipe, going_on(changes, recipe=recipe), code=code)
    composed.check_options()
    refuse_missing_weights(composed.weights)
    path = None if out is None else usable_path("out", out)
    if path is not None and not is_secondary_process():
        refuse_existing(path)
    refuse_missing(composed)
    with (
        showing(show) as screen,
        notifying(notify, [*observers, screen.observe, log_notice]) as notifier,
        tracked(log_to, notifier.observers) as tracking,
    ):
        parts = new_run.TrainOptions(
            code=code,
            observers=[*notifier.observers, notifier, tracking],
            progress=screen.progress if progress is no_progress else progress,
            kernels=kernels,
            repeated=Path(recipe) if recipe and plan and not changes.keys() - {"data"} else None,
        )
        run = new_run.train_new(composed, plan, path, parts)
        notifier.notify("ended", repr(run))
    return run
