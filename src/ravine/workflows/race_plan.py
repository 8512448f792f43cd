"""From settings to the plan of a race: who takes part, at which points, for how many epochs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, final

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import SettingError
from ravine.tournament.job_graph import Course
from ravine.tournament.rungs import rungs, units
from ravine.tournament.trial_points import at_point, points
from ravine.workflows.race_settings import RaceSettings
from ravine.workflows.race_worker.pacing import Pace, epochs_within, slowest
from ravine.workflows.race_worker.slots import Share
from ravine.workflows.recipe import Recipe, compose

_SEARCHED = ("lr", "momentum", "eps")
_WAYPOINTS = 16  # weights that are kept on the way, for the plane
_CHECKPOINT_EVERY = 15.0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """All that decides a race, as race.json keeps it.

    Attributes:
        race: settings of the race.
        base: settings of the recipe that all share, those that differ from the defaults.
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

    def settings_of(self, entrant: str) -> dict[str, Any]:
        """Returns the recipe's settings of an entrant, before anything is searched."""
        return {**self.base, **self.race.entrants[entrant]}

    def group_of(self, entrant: str) -> str:
        """Names the entrants that take the same time a step: those of the same network."""
        changes = dict(self.race.entrants[entrant])
        if self.race.equal == "epochs":
            changes = {k: v for k, v in changes.items() if k not in ("optimizer", *_SEARCHED)}
        return " ".join(f"{k}={v}" for k, v in sorted(changes.items()))

    def groups(self) -> dict[str, dict[str, Any]]:
        """Returns settings to measure, one of each group."""
        found: dict[str, dict[str, Any]] = {}
        for name in self.race.entrants:
            found.setdefault(self.group_of(name), self.settings_of(name))
        return found

    def check_code(self, code: AllowedCode, *, source: Path) -> None:
        """Raises `CodeRefusedError` if an entrant's network is code that is not allowed."""
        for name in self.race.entrants:
            code.check(str(self.settings_of(name).get("model")), source=source)

    def to_values(self) -> dict[str, Any]:
        """Returns plain values, for race.json."""
        return {
            "race": self.race.model_dump(),
            "base": dict(self.base),
            "fixed": list(self.fixed),
            "plane": self.plane,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Returns the entry that `to_values` gave."""
        return cls(
            race=RaceSettings.of(values["race"]),
            base=values["base"],
            fixed=tuple(values["fixed"]),
            plane=bool(values["plane"]),
        )


def enter(
    race: RaceSettings,
    *,
    recipe: str | Path | None,
    given: Mapping[str, Any],
    plane: bool,
    code: AllowedCode,
) -> Entry:
    """Returns the entry; every entrant's settings are checked here, before anything runs.

    Raises:
        CodeRefusedError: the recipe's network is code that is not allowed.
        SettingError: a setting of the recipe or of an entrant does not fit.
    """
    for name in ("epochs", "budget", "seed"):
        if given.get(name) is not None:
            raise SettingError(f"{name} belongs to the race: give it in rules")
    composed, _ = compose(recipe, given, code=code)
    base = composed.changed_from_default()
    for name in ("epochs", "budget", "seed"):
        base.pop(name, None)
    for name in _SEARCHED:
        if name not in given:
            base.pop(name, None)
    varied = {name for changes in race.entrants.values() for name in changes}
    fixed = tuple(n for n in _SEARCHED if n in given or n in varied)
    plain = Recipe.of(base).model_dump(mode="json")
    entry = Entry(race=race, base={k: plain[k] for k in base}, fixed=fixed, plane=plane)
    for name in race.entrants:
        settings = Recipe.of(entry.settings_of(name))
        if settings.model == "auto":
            raise SettingError("a race needs to know its network: --model wrn-16-2, for example")
        settings.check_network()
    return entry


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RacePlan:
    """What is run: written before the first trial, read back when a race goes on.

    Attributes:
        course: trials and seeds.
        epochs: of a run of each entrant.
        paces: what was measured of each.
        slots: jobs at a time when it was made.
        threads: of each job.
    """

    course: Course
    epochs: Mapping[str, float]
    paces: Mapping[str, Pace]
    slots: int
    threads: int
    _finals: dict[str, str] = field(default_factory=dict)

    def check_code(self, code: AllowedCode, *, source: Path) -> None:
        """Raises `CodeRefusedError` if the network of a trial is code that is not allowed."""
        for trials in self.course.trials.values():
            for settings in trials:
                code.check(str(settings.get("model")), source=source)

    def final_of(self, run: str) -> str | None:
        """Returns the entrant whose run on a fresh seed this is, None for a trial."""
        if not self._finals:
            for name in self.course.trials:
                for seed in self.course.seeds:
                    self._finals[self.course.seed_run(name, seed)] = name
        return self._finals.get(run)

    def told(self) -> list[str]:
        """Returns the plan in a few lines."""
        names = list(self.course.trials)
        count = len(self.course.trials[names[0]])
        few = {f"{epochs:g}" for epochs in self.epochs.values()}
        epochs = few.pop() if len(few) == 1 else f"{min(few, key=float)}–{max(few, key=float)}"
        found = [
            f"{len(names)} entrants, {count} trials of each at the same points, "
            f"then {len(self.course.seeds)} fresh seeds; {epochs} epochs a run, "
            f"{self.slots} jobs at a time with {self.threads} thread"
            f"{'s' if self.threads > 1 else ''} each"
        ]
        steps = rungs(count, early=self.course.early)
        if steps:
            parts = [
                f"{rung.keep} of {count} trials go on after {rung.share:.3g}" for rung in steps
            ]
            found.append(f"early stopping: {', '.join(parts)} of a run")
        return found

    def to_values(self) -> dict[str, Any]:
        """Returns plain values, for plan.json."""
        return {
            "course": asdict(self.course),
            "epochs": dict(self.epochs),
            "paces": {name: asdict(pace) for name, pace in self.paces.items()},
            "slots": self.slots,
            "threads": self.threads,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Returns the plan that `to_values` gave."""
        return cls(
            course=Course(**values["course"]),
            epochs=values["epochs"],
            paces={name: Pace(**pace) for name, pace in values["paces"].items()},
            slots=int(values["slots"]),
            threads=int(values["threads"]),
        )


def make_plan(
    entry: Entry,
    measured: Mapping[str, Sequence[Mapping[str, Any]]],
    share: Share,
    *,
    elapsed: float,
) -> RacePlan:
    """Returns the plan.

    Args:
        entry: of the race.
        measured: results of `pacing.measure`, by group.
        share: of the machine.
        elapsed: seconds of the budget that are used up.

    Raises:
        SettingError: the budget is too short.
    """
    race = entry.race
    groups = {name: slowest(found) for name, found in measured.items()}
    paces = {name: groups[entry.group_of(name)] for name in race.entrants}
    if race.budget is not None:
        steps = len(rungs(race.trials, early=race.early))
        epochs = epochs_within(
            race.budget - elapsed,
            paces,
            units=units(race.trials, early=race.early),
            seeds=race.seeds,
            jobs=race.trials * (1 + steps) + race.seeds,
            slots=share.slots,
            equal=race.equal,
        )
    else:
        epochs = dict.fromkeys(paces, race.epochs or 10.0)
    course = Course(
        trials={
            name: _trials(entry, name, epochs[name], paces[name], share) for name in race.entrants
        },
        seeds=[race.seed + 1 + k for k in range(race.seeds)],
        early=race.early,
        folders=_folders(race.entrants),
        in_finals={"keep_weights": _WAYPOINTS} if entry.plane else {},
    )
    return RacePlan(
        course=course, epochs=epochs, paces=paces, slots=share.slots, threads=share.threads
    )


def _trials(
    entry: Entry, name: str, epochs: float, pace: Pace, share: Share
) -> list[dict[str, Any]]:
    settings = entry.settings_of(name)
    recipe = Recipe.of(settings)
    settings = {
        "checkpoint_every": _CHECKPOINT_EVERY,
        "monitor": 0.0,
        **settings,
        "seed": entry.race.seed,
        "epochs": epochs,
        "threads": share.threads,
    }
    rate = recipe.default_lr(batch=recipe.batch, normalised=pace.normalised)
    return [
        settings | at_point(point, optimizer=recipe.optimizer, default_lr=rate, fixed=entry.fixed)
        for point in points(entry.race.trials, seed=entry.race.seed)
    ]


def _folders(names: Mapping[str, Any]) -> dict[str, str]:
    """Returns a name for files of each entrant, no two the same."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w.=-]+", "-", name).strip("-.")[:60] or "entrant"
        folder, count = plain, 1
        while folder in found.values():
            count += 1
            folder = f"{plain}-{count}"
        found[name] = folder
    return found
