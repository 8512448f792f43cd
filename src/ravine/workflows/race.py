"""`race`: several candidates trained side by side on the user's own images, fairly.

    settings -> (measure a step) -> plan -> jobs of the job graph -> results -> report

Everything that decides the race is written before the first job; results of jobs lie in outcomes/.
A race that was stopped or killed is called again in the same words and goes on with the missing
jobs.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ravine.core.allowed_code import AllowedCode
from ravine.core.atomic import make_folder, sweep_parts
from ravine.core.errors import RunError, SettingError
from ravine.core.html_table import html_table
from ravine.core.notice import Notice
from ravine.core.paths import usable_path
from ravine.core.progress import Progress, no_progress
from ravine.core.renamed import with_new_names
from ravine.reports.race_page import render_race
from ravine.runs.folder import RUNS, RunFolder, next_run_path
from ravine.runs.links import refuse_link
from ravine.runs.rows import read_json, write_json
from ravine.runs.score import ACCURACY
from ravine.training.gradient_noise import gradient_noise
from ravine.training.loss import plain_loss_of_each
from ravine.training.stop import stop_on_signals
from ravine.workflows.race_images import prepared_for_jobs, training_images
from ravine.workflows.race_kernels import decide_race_kernels
from ravine.workflows.race_networks import with_networks_of_weights
from ravine.workflows.race_plan import RacePlan, RaceSpec, check_budget, make_spec
from ravine.workflows.race_plane import draw_plane
from ravine.workflows.race_results import gather
from ravine.workflows.race_settings import RaceSettings, combinations
from ravine.workflows.race_worker.controller import Controller, RaceObserver, ignore_events
from ravine.workflows.race_worker.job_pool import JobPool
from ravine.workflows.race_worker.local_jobs import LocalJobPool
from ravine.workflows.race_worker.race_folder import RaceFolder, RaceState
from ravine.workflows.race_worker.ray_jobs import RayJobPool
from ravine.workflows.race_worker.slots import JobSlots, allocate_slots, machine_memory
from ravine.workflows.recipe import Recipe, compose
from ravine.workflows.run import Run
from ravine.workflows.screens import share

_MEMORY_SHARE = 0.9  # of the machine's, for all jobs together
_NOISE_IMAGES, _NOISE_BATCH = 2048, 32


class Race:
    """A finished race: its verdict, its table, and the paths of its files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Returns the race in a folder.

        Raises:
            RunError: there is no race there.
        """
        found = cls(Path(path))
        if not found._folder.spec.is_file():
            raise RunError(f"{path} is no race: it holds no race.json")
        return found

    @property
    def _folder(self) -> RaceFolder:
        return RaceFolder(self.path)

    @cached_property
    def results(self) -> dict[str, Any]:
        """The numbers of results.json: table, comparisons, trials, curves.

        Raises:
            RunError: the race has not ended.
        """
        return read_json(self._folder.results)

    @property
    def verdict(self) -> str:
        """The winner, in a sentence, or the candidates without a significant difference."""
        return str(self.results["verdict"])

    @property
    def table(self) -> list[dict[str, Any]]:
        """A row for each candidate, the best first."""
        return list(self.results["table"])

    @property
    def report(self) -> Path:
        """The page."""
        return self._folder.report

    def __repr__(self) -> str:
        ended = self._folder.results.is_file()
        return f"race {self.path}: {self.verdict if ended else 'not ended'}"

    def _repr_html_(self) -> str:
        if not self._folder.results.is_file():
            return html_table(repr(self), (), ())
        rows = [
            (row["rank"], row["name"], "–" if not row["results"] else share(row["mean"]))
            for row in self.table
        ]
        measure = self.results.get("measure", ACCURACY)
        return html_table(self.verdict, ("rank", "candidate", measure), rows)

    @property
    def winner(self) -> Path | None:
        """The recipe of the candidate with the best mean, for `ravine train --recipe`."""
        path = self._folder.winner
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
    watch: RaceObserver = ignore_events,
    progress: Progress = no_progress,
    **settings: Any,
) -> Race:
    """Races candidates on labelled images and returns the finished race.

    Same initial weights, order of data and augmentation for all; the same number of trials from
    the same quasi-random points; the best trial of each runs on the same fresh seeds.

    Args:
        data: as `ravine.train` takes it; None to go on with the race in `out`.
        optimizers: names to race; the same as `vary={"optimizer": ...}`.
        vary: setting -> values; several settings give every combination.
        out: folder of the race; by default runs/race-DATA-MODEL-N. A race with the same
            settings in it goes on.
        recipe: a recipe's name or file that the candidates share.
        allow_code: the `module:callable`s that may be imported, where the recipe, or the race in
            `out`, names some as networks; those given as `model` need no more.
        jobs: at a time; 0 for as many as there are cores or GPUs.
        ray: address of a Ray cluster that does the jobs, such as `10.0.0.1:6379` or `auto`.
        plane: keep weights along the way and draw all candidates on one plane of the network,
            which takes up to 20 s after the race and needs candidates of one network.
        rules: settings of the race: trials, seeds, epochs or budget, equal, target, early, seed,
            limit, memory; see `RaceSettings`.
        watch: observer of notices and of the progress of the race.
        progress: observer of slow work before the race.
        **settings: of the recipe, for all candidates; a learning rate, momentum or eps that is
            given is not searched.

    Raises:
        CodeRefusedError: a network is code that was not allowed; nothing was imported.
        RavineError: a mistake in settings, data or folder, before the first job.
        RaceInterrupted: Ctrl-C or SIGTERM; the same call goes on.
    """
    if data is not None:
        settings["data"] = str(data)
    axes = _axes(optimizers, vary)
    code = AllowedCode.of(allow_code, typed=[settings.get("model"), *axes.get("model", ())])
    goes_on = data is None and recipe is None and out is not None
    if goes_on:
        chosen = {"optimizers": optimizers, "vary": vary, "plane": plane}
        given = [*(name for name, value in chosen.items() if value), *(rules or {}), *settings]
        spec = _spec_in(Path(str(out)), given)
        spec.check_code(code, source=RaceFolder(Path(str(out))).spec)
    else:
        race_settings = RaceSettings.of({**(rules or {}), "candidates": combinations(axes)})
        shared, _ = compose(recipe, settings, code=code)
        race_settings = with_networks_of_weights(
            race_settings, shared, code, lambda text: watch(Notice(text=text))
        )
        spec = make_spec(race_settings, recipe=recipe, given=settings, plane=plane, code=code)
    path = usable_path("out", out) if out is not None else _next_path(spec)
    return _run(spec, path, code, jobs=jobs, ray=ray, observe=watch, progress=progress)


def _axes(
    optimizers: Sequence[str], vary: Mapping[str, Sequence[str]] | None
) -> dict[str, list[str]]:
    axes = {name: [str(value) for value in values] for name, values in (vary or {}).items()}
    axes = with_new_names(axes, Recipe.model_fields)
    return {"optimizer": list(optimizers), **axes} if optimizers else axes


def _spec_in(path: Path, given: Sequence[str]) -> RaceSpec:
    """Returns the spec of the race at `path`, which no given setting can change."""
    spec = RaceSpec.from_values(read_json(Race.load(path)._folder.spec))
    if given:
        raise SettingError(
            f"{', '.join(given)} cannot change the race in {path}, which goes on as race.json "
            "says; leave it out, or name the data to start another race"
        )
    return spec


def _run(
    spec: RaceSpec,
    path: Path,
    code: AllowedCode,
    *,
    jobs: int,
    ray: str | None,
    observe: RaceObserver,
    progress: Progress,
) -> Race:
    """Runs the missing jobs of a race and writes its results."""
    slots = allocate_slots(jobs=jobs, threads=spec.threads, device=spec.device)
    if not (path / "plan.json").exists():
        check_budget(spec.race, slots)
    prepared = prepared_for_jobs(spec, observe, progress)
    # A race of before left the augmentation to its jobs; it goes on so.
    folder = _open(path, spec if _leaves_augmentation(path) else prepared)
    spec = RaceSpec.from_values(read_json(folder.spec))
    with RunFolder(path).locked(), stop_on_signals() as stop:
        RunFolder(path).sweep()
        sweep_parts(folder.outcomes)
        pool = _open_pool(folder, slots, spec.race, ray, code)
        controller = Controller(
            spec=spec,
            folder=folder,
            pool=pool,
            slots=slots,
            observe=observe,
            stop=stop,
            decide_kernels=lambda: decide_race_kernels(spec, slots, code, observe, progress),
        )
        try:
            plan = controller.plan()
            plan.check_code(code, source=folder.plan)
            controller.run(plan)
        finally:
            pool.close()
            controller.save()
        _conclude(spec, plan, folder, controller.state, progress, code)
    return Race.load(path)


def _open_pool(
    folder: RaceFolder,
    slots: JobSlots,
    settings: RaceSettings,
    ray: str | None,
    code: AllowedCode,
) -> JobPool:
    names = tuple(sorted(code.names))
    limit = settings.limit or 0.0
    if ray is not None:
        memory = settings.memory or 0
        return RayJobPool.connect(
            ray,
            folder=folder,
            threads=slots.threads,
            memory=memory,
            limit=limit,
            allow_code=names,
        )
    return LocalJobPool(
        folder=folder,
        slots=slots.count,
        threads=slots.threads,
        memory=settings.memory or int(_MEMORY_SHARE * machine_memory()) // slots.count,
        limit=limit,
        devices=slots.devices,
        allow_code=names,
    )


def _next_path(spec: RaceSpec) -> Path:
    base = Recipe.of(spec.base)
    path = next_run_path(RUNS, f"race-{Path(base.data).name.lstrip('@')}", base.model)
    make_folder(path.parent)
    return path


def _open(path: Path, spec: RaceSpec) -> RaceFolder:
    """Makes the folder of a race, or opens that of a race with the same settings."""
    folder = RaceFolder(path)
    if folder.spec.is_file():
        _check_same(path, RaceSpec.from_values(read_json(folder.spec)), spec)
    elif path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise RunError(f"{path} exists already and is no race; choose another name with --out")
    else:
        make_folder(path)
        write_json(folder.spec, spec.to_values())
    for inside in (folder.runs, folder.outcomes):
        refuse_link(inside)
        make_folder(inside)
    for run in folder.runs.iterdir():
        refuse_link(run)
    return folder


def _leaves_augmentation(path: Path) -> bool:
    """Returns whether a race at `path` has not decided the augmentation for all its jobs."""
    file = RaceFolder(path).spec
    if not file.is_file():
        return False
    return Recipe.of(RaceSpec.from_values(read_json(file)).base).is_left_to_ravine


def _check_same(path: Path, before: RaceSpec, now: RaceSpec) -> None:
    """Raises `RunError` if the race at `path` has other settings."""
    old, new = before.to_values(), now.to_values()
    names = {name for part in new for name in _different(part, old[part], new[part])}
    if names:
        raise RunError(
            f"{path} holds a race with other settings ({', '.join(sorted(names))}); "
            f"go on with it: ravine race --out {path}, or choose another name with --out"
        )


def _different(part: str, before: Any, now: Any) -> list[str]:
    """Returns the names of the settings that differ in a part of race.json."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [part]
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ["candidates" if name == "entrants" else name for name in names]


def _conclude(
    spec: RaceSpec,
    plan: RacePlan,
    folder: RaceFolder,
    state: RaceState,
    progress: Progress,
    code: AllowedCode,
) -> None:
    """Writes results.json, winner.toml, the plane and the page."""
    results = gather(spec, plan, folder, state)
    runs = {
        row["name"]: folder.runs / plan.graph.seed_run(row["name"], min(row["results"]))
        for row in results["table"]
        if row["results"]
    }
    results["noise"] = _noise(spec, runs, code)
    results["plane"] = None
    if spec.plane:
        results["plane"] = draw_plane(
            spec,
            runs,
            folder.path,
            names=[row["name"] for row in results["table"]],
            elapsed=state.elapsed,
            code=code,
            progress=progress,
        )
    write_json(folder.results, results)
    render_race(folder.path, with_plane=spec.plane and results["plane"] is None)


def _noise(spec: RaceSpec, runs: Mapping[str, Path], code: AllowedCode) -> dict[str, Any] | None:
    """Returns the gradient noise at the best candidate's weights, for each batch size."""
    sizes = {name: spec.settings_of(name).get("batch") for name in spec.race.candidates}
    if len(set(sizes.values())) < 2 or not runs:
        return None
    best = next(iter(runs))
    batches = training_images(spec, count=_NOISE_IMAGES, batch=_NOISE_BATCH)
    if len(batches) < 2:
        return None
    run = Run.load(runs[best], allow_code=sorted(code.names))
    loss = plain_loss_of_each(several=run.trained.several)
    found = gradient_noise(run.model.train(), lambda z, y: loss(z, y).mean(), batches)
    batch_of = {name: size or Recipe().batch for name, size in sizes.items()}
    return {
        "at": best,
        "scale": found.scale,
        "ratios": {name: found.ratio(int(size)) for name, size in batch_of.items()},
    }
