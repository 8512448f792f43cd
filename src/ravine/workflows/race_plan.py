"""From settings to the plan of a race: candidates, trial points, epochs, job graph."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, final

from torch import nn

from ravine.core.allowed_code import AllowedCode
from ravine.core.counted import counted
from ravine.core.errors import RunError, SettingError
from ravine.core.user_code import own_callable
from ravine.ops.kernel_plan import KernelPlan, guessed_plan
from ravine.optim.settings import OptimizerSettings
from ravine.runs.kernel_plan_file import plan_from_values, plan_to_values
from ravine.tournament.job_graph import JobGraph
from ravine.tournament.rungs import rungs, search_cost
from ravine.tournament.trial_points import at_point, points
from ravine.workflows.fine_tuning import FINE_TUNING_LR
from ravine.workflows.network_defaults import batch_choice, lr_of_batch, with_model_defaults
from ravine.workflows.race_settings import RaceSettings
from ravine.workflows.race_worker.slots import JobSlots
from ravine.workflows.race_worker.timing import (
    Timing,
    Workload,
    epochs_within,
    refuse_short_budget,
    slowest,
)
from ravine.workflows.recipe import Recipe, compose

DEFAULT_EPOCHS = 10.0  # of a run, where neither epochs nor a budget are given
_SEARCHED = ("lr", "momentum", "eps")
_WAYPOINTS = 16  # snapshots of the weights of a run, for the plane
_CHECKPOINT_EVERY = 15.0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RaceSpec:
    """Everything that decides a race, as race.json keeps it.

    Attributes:
        race: settings of the race.
        base: settings of the shared recipe that differ from the defaults.
        fixed: settings that are not searched.
        plane: whether weights are kept for a picture of the plane.
    """

    race: RaceSettings
    base: Mapping[str, Any]
    fixed: tuple[str, ...] = ()
    plane: bool = False

    @property
    def threads(self) -> int:
        """Threads of a job that the user gave; 0 for none."""
        return Recipe.of(self.base).threads

    @property
    def device(self) -> str:
        """The device that the recipe names."""
        return Recipe.of(self.base).device

    def settings_of(self, candidate: str) -> dict[str, Any]:
        """Returns the recipe's settings of a candidate, before anything is searched."""
        return {**self.base, **self.race.candidates[candidate]}

    def group_of(self, candidate: str) -> str:
        """Returns the group of candidates with the same time per step: those of one network."""
        changes = dict(self.race.candidates[candidate])
        if self.race.equal == "epochs":
            changes = {k: v for k, v in changes.items() if k not in ("optimizer", *_SEARCHED)}
        return " ".join(f"{k}={v}" for k, v in sorted(changes.items()))

    def groups(self) -> dict[str, dict[str, Any]]:
        """Returns the settings to measure, one of each group."""
        found: dict[str, dict[str, Any]] = {}
        for name in self.race.candidates:
            found.setdefault(self.group_of(name), self.settings_of(name))
        return found

    def check_code(self, code: AllowedCode, *, source: Path) -> None:
        """Imports the candidates' networks that are code, so that no job fails by it.

        Raises:
            CodeRefusedError: one is not allowed.
            SettingError: one cannot be imported here.
        """
        for name in self.race.candidates:
            model = str(self.settings_of(name).get("model"))
            code.check(model, source=source)
            if model in code.names:
                own_callable("model", model, code=code)

    def to_values(self) -> dict[str, Any]:
        """Returns plain values, for race.json."""
        return {
            "race": self.race.to_values(),
            "base": dict(self.base),
            "fixed": list(self.fixed),
            "plane": self.plane,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Returns the spec that `to_values` gave."""
        return cls(
            race=RaceSettings.from_values(values["race"]),
            base=values["base"],
            fixed=tuple(values["fixed"]),
            plane=bool(values["plane"]),
        )


def make_spec(
    race: RaceSettings,
    *,
    recipe: str | Path | None,
    given: Mapping[str, Any],
    plane: bool,
    code: AllowedCode,
) -> RaceSpec:
    """Returns the spec; every candidate's settings are checked here, before any job runs.

    Raises:
        CodeRefusedError: the recipe's network is code that is not allowed.
        SettingError: a setting of the recipe or of a candidate does not fit.
    """
    for name in ("epochs", "budget", "seed"):
        if given.get(name) is not None:
            raise SettingError(f"{name} belongs to the race: give it in rules")
    composed, _ = compose(recipe, given, code=code)
    if composed.folds is not None:
        raise SettingError("a race trains one network a trial: leave out --folds")
    if composed.patience:
        raise SettingError("a race trains all for the same number of steps: leave out --patience")
    base = composed.changed_from_default()
    for name in ("epochs", "budget", "seed"):
        base.pop(name, None)
    for name in _SEARCHED:
        if name not in given:
            base.pop(name, None)
    varied = {name for changes in race.candidates.values() for name in changes}
    fixed = tuple(n for n in _SEARCHED if n in given or n in varied)
    plain = Recipe.of(base).model_dump(mode="json")
    spec = RaceSpec(race=race, base={k: plain[k] for k in base}, fixed=fixed, plane=plane)
    for name in race.candidates:
        settings = Recipe.of(spec.settings_of(name))
        if settings.model == "auto":
            raise SettingError("a race needs to know its network: --model wrn-16-2, for example")
        settings.check_network()
    return spec


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RacePlan:
    """The plan of a race: written before the first trial, read back when a race goes on.

    Attributes:
        graph: trials and seeds.
        epochs: of a run of each candidate.
        timings: measured durations of each candidate.
        slots: jobs at a time when it was made.
        threads: of each job.
        kernels: the algorithms of all jobs' convolutions.
    """

    graph: JobGraph
    epochs: Mapping[str, float]
    timings: Mapping[str, Timing]
    slots: int
    threads: int
    kernels: KernelPlan

    def check_code(self, code: AllowedCode, *, source: Path) -> None:
        """Raises `CodeRefusedError` if the network of a trial is code that is not allowed."""
        for trials in self.graph.trials.values():
            for settings in trials:
                code.check(str(settings.get("model")), source=source)

    def candidate_of_seed_run(self, run: str) -> str | None:
        """Returns the candidate whose run on a fresh seed this is, None for a trial."""
        for name in self.graph.trials:
            if any(self.graph.seed_run(name, seed) == run for seed in self.graph.seeds):
                return name
        return None

    def describe(self) -> list[str]:
        """Returns the plan in one or two lines."""
        names = list(self.graph.trials)
        count = len(self.graph.trials[names[0]])
        few = {f"{epochs:g}" for epochs in self.epochs.values()}
        epochs = few.pop() if len(few) == 1 else f"{min(few, key=float)}–{max(few, key=float)}"
        found = [
            f"{counted(len(names), 'candidate')}, {counted(count, 'trial')} of each at the same "
            f"points, then {counted(len(self.graph.seeds), 'fresh seed')}; {epochs} "
            f"{'epoch' if epochs == '1' else 'epochs'} a run, {counted(self.slots, 'job')} at a "
            f"time with {counted(self.threads, 'thread')} each"
        ]
        steps = rungs(count, early=self.graph.early)
        if steps:
            parts = [
                f"{rung.keep} of {count} trials go on after {rung.share:.3g}" for rung in steps
            ]
            found.append(f"early stopping: {', '.join(parts)} of a run")
        return found

    def to_values(self) -> dict[str, Any]:
        """Returns plain values, for plan.json."""
        return {
            "course": asdict(self.graph),
            "epochs": dict(self.epochs),
            "paces": {name: asdict(timing) for name, timing in self.timings.items()},
            "slots": self.slots,
            "threads": self.threads,
            "kernels": plan_to_values(self.kernels),
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Returns the plan that `to_values` gave.

        One of before there were kernel plans goes by the best guesses, as its jobs did.

        Raises:
            RunError: its kernel plan is none.
        """
        return cls(
            kernels=_kernels_in(values),
            graph=JobGraph(**values["course"]),
            epochs=values["epochs"],
            timings={name: Timing(**timing) for name, timing in values["paces"].items()},
            slots=int(values["slots"]),
            threads=int(values["threads"]),
        )


def _kernels_in(values: Mapping[str, Any]) -> KernelPlan:
    if "kernels" not in values:
        return guessed_plan((), "float32")
    try:
        return plan_from_values(values["kernels"])
    except ValueError:
        raise RunError("plan.json of the race holds no kernel plan; begin it anew") from None


def make_plan(
    spec: RaceSpec,
    measured: Mapping[str, Sequence[Timing]],
    slots: JobSlots,
    *,
    elapsed: float,
    kernels: KernelPlan,
) -> RacePlan:
    """Returns the plan.

    Args:
        spec: of the race.
        measured: durations of each group, from simultaneous processes.
        slots: of the machine.
        elapsed: seconds of the budget that are used up.
        kernels: decided for all jobs.

    Raises:
        SettingError: the budget is too short.
    """
    race = spec.race
    groups = {name: slowest(found) for name, found in measured.items()}
    timings = {name: groups[spec.group_of(name)] for name in race.candidates}
    epochs = _epochs(race, timings, slots, elapsed=elapsed)
    graph = JobGraph(
        trials={
            name: _trials(spec, name, epochs[name], timings[name], slots)
            for name in race.candidates
        },
        seeds=[race.seed + 1 + k for k in range(race.seeds)],
        early=race.early,
        folders=_folders(race.candidates),
        in_finals={"keep_weights": _WAYPOINTS} if spec.plane else {},
    )
    return RacePlan(
        graph=graph,
        epochs=epochs,
        timings=timings,
        slots=slots.count,
        threads=slots.threads,
        kernels=kernels,
    )


def _epochs(
    race: RaceSettings, timings: Mapping[str, Timing], slots: JobSlots, *, elapsed: float
) -> dict[str, float]:
    """Returns the epochs of a run of each candidate."""
    if race.budget is None:
        return dict.fromkeys(timings, race.epochs or DEFAULT_EPOCHS)
    load = _workload(race, slots)
    return epochs_within(race.budget, timings, load, equal=race.equal, elapsed=elapsed)


def _workload(race: RaceSettings, slots: JobSlots) -> Workload:
    jobs_of_trial = 1 + len(rungs(race.trials, early=race.early))
    return Workload(
        search_cost=search_cost(race.trials, early=race.early),
        seeds=race.seeds,
        jobs=race.trials * jobs_of_trial + race.seeds,
        slots=slots.count,
    )


def check_budget(race: RaceSettings, slots: JobSlots) -> None:
    """Raises `SettingError` for a budget that is too short on any machine, at once."""
    if race.budget is not None:
        refuse_short_budget(race.budget, list(race.candidates), _workload(race, slots))


def searchable(optimizer: str) -> set[str]:
    """Returns which of lr, momentum and eps the optimizer has.

    >>> sorted(searchable("adagrad")), sorted(searchable("momentum"))
    (['eps', 'lr'], ['lr', 'momentum'])
    """
    settings = OptimizerSettings.of({"optimizer": optimizer})
    group = settings.build_optimizer(nn.Linear(1, 1)).param_groups[0]
    found = {"lr"}
    if "momentum" in group or "betas" in group:
        found.add("momentum")
    if "eps" in group:
        found.add("eps")
    return found


def _trials(
    spec: RaceSpec, name: str, epochs: float, timing: Timing, slots: JobSlots
) -> list[dict[str, Any]]:
    settings = spec.settings_of(name)
    recipe = Recipe.of(settings)
    settings = {
        "checkpoint_every": _CHECKPOINT_EVERY,
        "monitor": 0.0,
        "keep_best": False,
        **settings,
        "seed": spec.race.seed,
        "epochs": epochs,
        "threads": slots.threads,
    }
    default_lr = _default_lr(recipe, epochs, timing)
    free = searchable(recipe.optimizer) - set(spec.fixed)
    return [
        settings | at_point(point, free=free, default_lr=default_lr)
        for point in points(spec.race.trials, seed=spec.race.seed)
    ]


def _default_lr(recipe: Recipe, epochs: float, timing: Timing) -> float:
    """Returns the learning rate that a candidate's training would start from, were it alone."""
    chosen = None
    if timing.images:
        chosen = batch_choice(recipe.with_(epochs=epochs), images=timing.images)
    recipe, _ = with_model_defaults(recipe, chosen, several=False)  # which decides no rate
    lr = recipe.lr
    if not isinstance(lr, float):
        lr = lr_of_batch(recipe, chosen, normalised=timing.normalised)
    if recipe.weights is None:
        return lr
    if recipe.freeze != "backbone":
        return lr * FINE_TUNING_LR
    return min(lr, timing.lr) if timing.lr else lr


def _folders(names: Mapping[str, Any]) -> dict[str, str]:
    """Returns a prefix of run folders for each candidate, all different."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w.=-]+", "-", name).strip("-.")[:60] or "candidate"
        folder, count = plain, 1
        while folder in found.values():
            count += 1
            folder = f"{plain}-{count}"
        found[name] = folder
    return found
