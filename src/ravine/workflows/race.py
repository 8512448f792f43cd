"""`race`: several entrants trained side by side on the user's own data, fairly.

    settings -> (measure a step) -> plan -> jobs, as `course` names them -> results -> report

All that decides the race is written down before the first job; what is done lies in outcomes/. So a
race that was stopped or killed is called again in the same words and goes on with what is missing.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from torch import nn

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import RunError
from ravine.core.progress import Progress, no_progress
from ravine.data.opening import open_dataset
from ravine.reports.race_page import render_race
from ravine.runs.folder import RunFolder, next_run_path
from ravine.runs.links import refuse_link
from ravine.runs.rows import read_json, write_json
from ravine.training.gradient_noise import gradient_noise
from ravine.training.stop import stop_on_signals
from ravine.workflows.race_images import training_images
from ravine.workflows.race_plan import Entry, RacePlan, enter
from ravine.workflows.race_plane import draw_plane
from ravine.workflows.race_results import gather
from ravine.workflows.race_settings import RaceSettings, entrants
from ravine.workflows.race_worker.controller import Steward, Watch, watch_nothing
from ravine.workflows.race_worker.local_jobs import LocalWorkers, Places, Workers, machine_memory
from ravine.workflows.race_worker.ray_jobs import RayWorkers
from ravine.workflows.race_worker.slots import Share, share_machine
from ravine.workflows.recipe import Recipe
from ravine.workflows.run import Run

_RUNS = Path("runs")
_NOISE_IMAGES, _NOISE_BATCH = 2048, 32


class Race:
    """A finished race: who won, the table, and where everything lies."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Returns the race in a folder.

        Raises:
            RunError: there is no race there.
        """
        found = cls(Path(path))
        if not (found.path / "race.json").is_file():
            raise RunError(f"{path} is no race: it holds no race.json")
        return found

    @cached_property
    def results(self) -> dict[str, Any]:
        """The numbers of results.json: table, comparisons, trials, curves.

        Raises:
            RunError: the race has not ended.
        """
        return read_json(self.path / "results.json")

    @property
    def verdict(self) -> str:
        """Who won, in a sentence; those that cannot be told apart are said to be tied."""
        return str(self.results["verdict"])

    @property
    def table(self) -> list[dict[str, Any]]:
        """A row for each entrant, the best first."""
        return list(self.results["table"])

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def winner(self) -> Path | None:
        """The recipe of the entrant with the best mean, for `ravine train --recipe`."""
        path = self.path / "winner.toml"
        return path if path.is_file() else None


def race(
    data: str | Path | None = None,
    *,
    optimizers: Sequence[str] = (),
    vary: Mapping[str, Sequence[str]] | None = None,
    out: str | Path | None = None,
    recipe: str | Path | None = None,
    allow_code: str | Sequence[str] = (),
    jobs: int = 0,
    ray: str | None = None,
    plane: bool = False,
    rules: Mapping[str, Any] | None = None,
    watch: Watch = watch_nothing,
    progress: Progress = no_progress,
    **settings: Any,
) -> Race:
    """Races entrants on labelled images and returns the finished race.

    Same initial weights, order of data and augmentation for all; the same number of trials from
    the same quasi-random points; the best trial of each runs on the same fresh seeds.

    Args:
        data: as `ravine.train` takes it; None to go on with the race in `out`.
        optimizers: names to race; the same as `vary={"optimizer": ...}`.
        vary: setting -> values; several settings give every combination.
        out: folder of the race; by default runs/race-DATA-MODEL-N. If a race with the same
            settings lies there, it is gone on with.
        recipe: a recipe's name or file that the entrants share.
        allow_code: the `module:callable`s that may be imported, where the recipe, or the race in
            `out`, names some as networks; those given as `model` need no more.
        jobs: at a time; 0 for as many as there are cores or GPUs.
        ray: address of a Ray cluster that does the jobs, such as `10.0.0.1:6379` or `auto`.
        plane: keep weights on the way and draw all entrants on one plane of the network, which
            takes up to 20 s after the race and needs entrants of one network.
        rules: settings of the race: trials, seeds, epochs or budget, equal, target, early, seed,
            limit, memory; see `RaceSettings`.
        watch: told how far the race is.
        progress: told of slow work before it.
        **settings: of the recipe, for all entrants; a rate, momentum or eps that is given is
            not searched.

    Raises:
        CodeRefusedError: a network is code that was not allowed; nothing was imported.
        RavineError: a mistake in settings, data or folder, told before the first job.
        RaceInterrupted: Ctrl-C or SIGTERM; the same call goes on.
    """
    if data is not None:
        settings["data"] = str(data)
    chosen = {} if vary is None else {k: [str(v) for v in vs] for k, vs in vary.items()}
    if optimizers:
        chosen = {"optimizer": list(optimizers), **chosen}
    code = AllowedCode.of(allow_code, typed=[settings.get("model"), *chosen.get("model", ())])
    if data is None and recipe is None and out is not None:
        file = Race.load(out).path / "race.json"
        entry = Entry.from_values(read_json(file))
        entry.check_code(code, source=file)
    else:
        race_settings = RaceSettings.of({**(rules or {}), "entrants": entrants(chosen)})
        entry = enter(race_settings, recipe=recipe, given=settings, plane=plane, code=code)
    path = Path(out) if out is not None else _next_path(entry)
    share = share_machine(jobs=jobs, threads=entry.threads, device=entry.device)
    base = Recipe.of(entry.base)
    open_dataset(base, seed=entry.race.seed, progress=progress)  # decoded once, for all
    places = _open(path, entry)
    with RunFolder(path).locked(), stop_on_signals() as stop:
        workers = _workers(places, share, entry.race, ray, code)
        steward = Steward(
            entry=entry, places=places, workers=workers, share=share, watch=watch, stop=stop
        )
        try:
            plan = steward.plan()
            plan.check_code(code, source=places.plan)
            steward.run(plan)
        finally:
            workers.close()
            steward.save()
        _conclude(entry, plan, places, steward.state, progress, code)
    return Race.load(path)


def _workers(
    places: Places, share: Share, rules: RaceSettings, ray: str | None, code: AllowedCode
) -> Workers:
    names = tuple(sorted(code.names))
    if ray is not None:
        return RayWorkers.connect(
            ray, places=places, threads=share.threads, rules=rules, allow_code=names
        )
    memory = rules.memory or int(0.9 * machine_memory()) // share.slots
    return LocalWorkers(
        places=places,
        slots=share.slots,
        threads=share.threads,
        memory=memory,
        limit=rules.limit or 0.0,
        devices=share.devices,
        allow_code=names,
    )


def _next_path(entry: Entry) -> Path:
    base = Recipe.of(entry.base)
    path = next_run_path(_RUNS, f"race-{Path(base.data).name.lstrip('@')}", base.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _open(path: Path, entry: Entry) -> Places:
    """Makes the folder of a race, or opens the one that lies there with the same settings."""
    file = path / "race.json"
    values = entry.to_values()
    if file.is_file():
        before = Entry.from_values(read_json(file)).to_values()
        names = [k for part in values for k in _different(before[part], values[part])]
        if names:
            raise RunError(
                f"{path} holds a race with other settings ({', '.join(sorted(set(names)))}); "
                f"go on with it: ravine race --out {path}, or choose another name with --out"
            )
    elif path.exists() and any(path.iterdir()):
        raise RunError(f"{path} exists already and is no race; choose another name with --out")
    else:
        path.mkdir(parents=True, exist_ok=True)
        write_json(file, values)
    places = Places(path)
    for folder in (places.runs, places.outcomes):
        refuse_link(folder)
    places.runs.mkdir(exist_ok=True)
    places.outcomes.mkdir(exist_ok=True)
    for run in places.runs.iterdir():
        refuse_link(run)
    return places


def _different(before: Any, now: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        return [k for k in {**before, **now} if before.get(k) != now.get(k)]
    return [] if before == now else ["entrants"]


def _conclude(
    entry: Entry,
    plan: RacePlan,
    places: Places,
    state: Mapping[str, Any],
    progress: Progress,
    code: AllowedCode,
) -> None:
    results = gather(entry, plan, places, state)
    runs = {
        row["name"]: places.runs / plan.course.seed_run(row["name"], min(row["results"]))
        for row in results["table"]
        if row["results"]
    }
    results["noise"] = _noise(entry, runs, code)
    results["plane"] = None
    if entry.plane:
        results["plane"] = draw_plane(
            entry,
            runs,
            places.race,
            names=[row["name"] for row in results["table"]],
            elapsed=float(state.get("elapsed") or 0.0),
            code=code,
            progress=progress,
        )
    write_json(places.race / "results.json", results)
    render_race(places.race, with_plane=entry.plane and results["plane"] is None)


def _noise(entry: Entry, runs: Mapping[str, Path], code: AllowedCode) -> dict[str, Any] | None:
    """Returns the noise of the gradient of each batch size that races, at the best's weights."""
    sizes = {name: entry.settings_of(name).get("batch") for name in entry.race.entrants}
    if len(set(sizes.values())) < 2 or not runs:
        return None
    best = next(iter(runs))
    batches = training_images(entry, count=_NOISE_IMAGES, batch=_NOISE_BATCH)
    if len(batches) < 2:
        return None
    model = Run.load(runs[best], allow_code=sorted(code.names)).model.train()
    found = gradient_noise(model, nn.CrossEntropyLoss(), batches)
    batch_of = {name: size or Recipe().batch for name, size in sizes.items()}
    return {
        "at": best,
        "scale": found.scale,
        "ratios": {name: found.ratio(int(size)) for name, size in batch_of.items()},
    }
