"""What is wrong with a run, and whether the cure works: a run folder passed to the diagnosis.

`diagnose_run` reads the rows of the run, and checks its network as it was at the start and as it
is in the last checkpoint. `try_cures` trains from the last good checkpoint, with the cure and
without, on the same data in the same order. It wires and computes nothing.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ravine.checks.check_table import EXPLAINS
from ravine.checks.examine import check, examine
from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import RavineError, RunError, SettingError
from ravine.core.lazy import lazy_module
from ravine.core.progress import Progress, no_progress
from ravine.data.batches import Batch, StepBatches
from ravine.data.dataset import Dataset
from ravine.data.opening import open_dataset
from ravine.findings.cure_trials import Trial, compare
from ravine.findings.finding import Finding, Findings, merge
from ravine.findings.label_floor import ignorance_of
from ravine.kernels.sleeping_threads import sleeps_when_busy
from ravine.nn.freezing import training_mode_
from ravine.ops.kernel_plan import guessed_plan
from ravine.runs.checkpoints import Checkpoint, checkpoint_paths, load_checkpoint, load_latest
from ravine.runs.folder import RunFolder, open_run_folder
from ravine.runs.history_file import read_history
from ravine.runs.layers_file import read_layers
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import write_json
from ravine.schedules.scheduler import Scheduler
from ravine.training.loss import Loss, plain_loss_of_each
from ravine.training.plan import Plan
from ravine.training.train_step import train_step
from ravine.workflows.assemble import Assembly, assemble
from ravine.workflows.data_paths import located, refuse_other_data
from ravine.workflows.recipe import Recipe
from ravine.workflows.run_findings import find_in_run, keep_findings, label_shares
from ravine.workflows.session import Session, open_session
from ravine.workflows.start_weights import read_start

if TYPE_CHECKING:
    from ravine.reports import page
else:
    page = lazy_module("ravine.reports.page")

_BATCHES = 16
_WORST = 10.0  # times the loss of knowing nothing, what a diverged run counts as
_NEAR_CHANCE = 1.2  # times the mean average precision of answers at random
# Settings that decide the initial weights or their names: a cure by one of them begins at step 0.
_FROM_START = ("init", "norm", "model", "activation", "skip", "zero_init", "ema")
_ELSE = {"init": "lsuv", "dropout": 0.1}  # what is tried where the run has the cure already


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A run folder with its recipe, plan and data."""

    folder: RunFolder
    recipe: Recipe
    plan: Plan
    dataset: Dataset
    code: AllowedCode

    def assemble(self, recipe: Recipe) -> Assembly:
        guesses = guessed_plan((), "float32")  # nothing is measured for a few steps
        return assemble(
            recipe,
            self.dataset,
            Session(),
            plan=self.plan,
            kernels=guesses,
            code=self.code,
            start=read_start(self.folder, recipe),
            features=False,
        )


@sleeps_when_busy()
def diagnose_run(
    path: str | Path,
    *,
    data: str | Path | None = None,
    look_inside: bool = True,
    labels_probe: bool = False,
    allow_code: str | Sequence[str] = (),
    progress: Progress = no_progress,
) -> Findings:
    """Returns what is wrong with a run; findings.jsonl and the report then hold it too.

    Args:
        path: the run folder, of a run that has ended or not.
        data: where the data has been moved to; it has to be the same data.
        look_inside: also check the network at its start and in the last checkpoint, on the data
            of the run; else only the rows are read.
        labels_probe: also test whether the labels belong to the images; tested in any case where
            nothing was learnt and no other finding explains it.
        allow_code: the `module:callable` that may be imported, where the network is your own.
        progress: receives the progress of slow work.

    Raises:
        CodeRefusedError: the run's network is code that was not allowed; nothing was imported.
        RavineError: there is no run, or its data is not there any more.
    """
    folder = open_run_folder(Path(path))
    rows, layers = read_history(folder.history), read_layers(folder.layers)
    if not look_inside:
        if not rows:
            raise RunError(f"{folder.path} has no rows yet: let it run, or look inside")
        findings = merge(find_in_run(folder, classes=None, layers=layers), EXPLAINS)
    else:
        with _open(folder, allow_code, progress, data) as case:
            classes = len(case.dataset.classes)
            found = list(find_in_run(folder, classes=classes, layers=layers))
            found += _look_inside(case, labels_probe=labels_probe)
            findings = merge(found, EXPLAINS)
            chance = float(np.mean(label_shares(folder) or [1 / classes]))
            if not labels_probe and _suspects_labels(
                findings, rows, classes=classes, chance=chance
            ):
                findings = merge([*found, *_probe_labels(case)], EXPLAINS)
    keep_findings(folder, findings)
    if folder.history.exists():
        page.render_report(folder.path, layers=layers)
    return findings


def try_cures(
    path: str | Path,
    findings: Findings,
    *,
    data: str | Path | None = None,
    steps: int = 200,
    seeds: int = 5,
    most: int = 2,
    allow_code: str | Sequence[str] = (),
    progress: Progress = no_progress,
) -> Iterator[Trial]:
    """Yields a trial of the cure of each of the first findings that have one as a setting.

    Args:
        path: the run folder.
        findings: of that run.
        data: where the data has been moved to; it has to be the same data.
        steps: of cure and control each.
        seeds: of the order of the data, and of initial weights where training begins anew.
        most: cures to try.
        allow_code: the `module:callable` that may be imported, where the network is your own.
        progress: receives the progress of slow work.

    Raises:
        CodeRefusedError: the run's network is code that was not allowed; nothing was imported.
        SettingError: steps or seeds are too few.
    """
    if steps < 1 or seeds < 2:
        raise SettingError(f"a trial takes at least 1 step and 2 seeds, got {steps} and {seeds}")
    folder = open_run_folder(Path(path))
    curable = [one for one in findings if one.changes and one.severity != "note"][:most]
    if not curable:
        return
    with _open(folder, allow_code, progress, data) as case:
        for one in curable:
            yield _try(case, one, steps=steps, seeds=seeds, progress=progress)


@contextmanager
def _open(
    folder: RunFolder,
    allow_code: str | Sequence[str],
    progress: Progress,
    data: str | Path | None,
) -> Iterator[_Case]:
    """Yields the run with its data; restores random state and number of threads."""
    settings, plan = read_recipe(folder.recipe)
    recipe = Recipe.of(settings)
    code = AllowedCode.of(allow_code, run=folder.path)
    code.check(recipe.model, source=folder.recipe)
    if plan is None:
        raise RunError(f"{folder.recipe} has no [plan]: it is not the recipe of a run")
    with open_session(progress=progress) as session:
        session.use_threads(recipe.threads)
        opened = located(recipe, folder, data=data)
        dataset = open_dataset(opened, seed=recipe.seed, progress=progress)
        if data is not None:
            refuse_other_data(folder, dataset)
        yield _Case(
            folder=folder,
            recipe=recipe,
            plan=Plan.from_values(plan),
            dataset=dataset,
            code=code,
        )


def _look_inside(case: _Case, *, labels_probe: bool) -> list[Finding]:
    assembly, batches = _as_at_start(case)
    model, optimizer = assembly.state.model, assembly.state.optimizer
    loss = assembly.training.step.loss
    done = examine(model, loss, batches, optimizer, labels_probe=labels_probe)
    if done.variance is not None:
        row = done.variance.row(f"{case.recipe.model} at its start")
        write_json(case.folder.variance, {"networks": [row]})
    found = list(done.findings)
    held = load_latest(
        case.folder.checkpoints,
        warn=lambda _: None,
        use=lambda one: assembly.state.load(one.step, one.tensors, one.values),
    )
    if held is not None:
        if assembly.measured is not None:
            assembly.measured.measure_(model)
        later = check(model, loss, batches, learn=False)
        found += [one for one in later if one.code == "norm-statistics-disagree"]
    return found


def _suspects_labels(
    findings: Findings, rows: list[dict[str, Any]], *, classes: int, chance: float
) -> bool:
    """Returns whether nothing was learnt that holds for other images than the training's.

    Args:
        findings: so far.
        rows: of history.jsonl.
        classes: K.
        chance: mean average precision of answers at random, of several labels.
    """
    if "plateau" in findings.codes:
        return True
    epochs = [row for row in rows if row.get("kind") == "epoch" and row.get("interval")]
    at_chance = bool(epochs) and max(row["interval"][0] for row in epochs) <= 1 / classes
    if scores := [row["mean_ap"] for row in rows if row.get("mean_ap") is not None]:
        at_chance = max(scores) <= _NEAR_CHANCE * chance
    return at_chance and bool({"overfitting", "validation-at-chance"} & set(findings.codes))


def _probe_labels(case: _Case) -> Iterator[Finding]:
    assembly, batches = _as_at_start(case)
    loss = assembly.training.step.loss
    found = check(assembly.state.model, loss, batches, learn=False, labels_probe=True)
    yield from (one for one in found if one.code.startswith("label"))


def _as_at_start(case: _Case) -> tuple[Assembly, list[Batch]]:
    assembly = case.assemble(case.recipe)
    training_mode_(assembly.state.model)
    batches = assembly.training.batches
    first = min(_BATCHES, batches.steps_per_epoch)
    return assembly, [batches.batch_at(step) for step in range(first)]


def keep_trials(path: str | Path, findings: Findings, trials: Mapping[str, Trial]) -> None:
    """Adds each trial, by the code of its finding, to the finding's row in findings.jsonl."""
    folder = open_run_folder(Path(path))
    keep_findings(folder, findings, trials)
    if folder.history.exists():
        page.render_report(folder.path)


def _try(case: _Case, one: Finding, *, steps: int, seeds: int, progress: Progress) -> Trial:
    control = case.recipe
    changes = resolve(one.changes, control)
    cured = control.with_(**changes)
    start = _last_good(case, one, changes, steps)
    done = 0

    def arm(recipe: Recipe) -> Callable[[int], float]:
        def run(seed: int) -> float:
            nonlocal done
            progress("trial runs", done, 2 * seeds)
            done += 1
            return _loss_after(case, recipe.with_(seed=recipe.seed + seed), start, steps)

        return run

    words = ", ".join(
        f"{k} {_word(v)} instead of {_word(getattr(control, k))}" for k, v in changes.items()
    )
    begin = f" from step {start.step}" if start else ""
    return compare(
        words + begin, cured=arm(cured), control=arm(control), seeds=range(seeds), steps=steps
    )


def _word(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value or "none")


def resolve(changes: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Returns the settings of a cure: "*0.1" is relative; what the run has already gives way.

    >>> resolve({"lr": "*0.1"}, Recipe(lr=0.5))
    {'lr': 0.05}
    """
    found: dict[str, Any] = {}
    for name, value in changes.items():
        old = getattr(recipe, name)
        if isinstance(value, str) and value.startswith("*"):
            value = old * float(value[1:])
        same = value == old or (isinstance(old, tuple) and old == (value,))
        found[name] = _ELSE[name] if same and name in _ELSE else value
    return found


def _last_good(
    case: _Case, one: Finding, changes: Mapping[str, Any], steps: int
) -> Checkpoint | None:
    """Returns the newest checkpoint before the fault began; None for step 0."""
    if any(name in _FROM_START for name in changes):
        return None
    for path in reversed(checkpoint_paths(case.folder.checkpoints)):
        try:
            found = load_checkpoint(path)
        except RavineError:
            continue
        before = one.step is None or one.step <= 1 or found.step < one.step
        if before and found.step + steps <= case.plan.end and _is_finite(found):
            return found
    return None


def _is_finite(found: Checkpoint) -> bool:
    return all(bool(t.isfinite().all()) for t in found.tensors.values() if t.is_floating_point())


def _loss_after(case: _Case, recipe: Recipe, start: Checkpoint | None, steps: int) -> float:
    """Returns the loss on images that were not trained on, or else on some that were."""
    assembly = case.assemble(recipe)
    training, state = assembly.training, assembly.state
    if start is not None:
        _load(assembly, start)
    scheduler = Scheduler(state.optimizer, steps=case.plan.total_steps, **training.schedules)
    training_mode_(state.model)
    for _ in range(steps):
        scheduler.set_at(min(1.0, case.plan.progress(state.step)))
        batch = training.batches.batch_at(state.step)
        train_step(state, training.forward, batch, settings=training.step)
    if training.validate is None:
        each = plain_loss_of_each(several=case.dataset.several)
        loss = _training_loss(state.evaluated, training.batches, each)
    else:
        loss = training.validate(state.evaluated).loss
    # Far above ln K one loss is as bad as another, and would outweigh all other seeds.
    return min(loss, _WORST * _ignorance(case.dataset))


def _ignorance(dataset: Dataset) -> float:
    """Returns the loss of a network that knows nothing of an image."""
    if dataset.several:
        return ignorance_of(dataset.labels[dataset.splits["train"]].mean(0).tolist())
    return math.log(max(2, len(dataset.classes)))


def _load(assembly: Assembly, start: Checkpoint) -> None:
    try:
        assembly.state.load(start.step, start.tensors, start.values)
    except RunError:  # another optimizer: its state begins anew
        weights = {k: v for k, v in start.tensors.items() if k.startswith("model/")}
        named = {name.removeprefix("model/"): value for name, value in weights.items()}
        assembly.state.model.load_state_dict(named)
        assembly.state.step = start.step


@torch.no_grad()
def _training_loss(model: nn.Module, batches: StepBatches, each: Loss) -> float:
    model.eval()
    losses = []
    for step in range(min(8, batches.steps_per_epoch)):
        batch = batches.batch_at(step)
        losses.append(float(each(model(batch.images), batch.targets).mean()))
    return sum(losses) / len(losses)
