"""The runs in a folder, as a list shows them: a few facts of each, from the ends of its files."""

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from ravine.core.errors import RunError
from ravine.runs.file_schemas import EVALUATION, fault_in
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_findings
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_json
from ravine.runs.run_state import RunState, StateKind, read_state
from ravine.runs.score import ACCURACY, measure_of, score_of

EntryKind = Literal["run", "folds", "race"]
_RANK: Mapping[str, int] = {"critical": 0, "warning": 1, "note": 2}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """A run in a list.

    Attributes:
        name: of its folder, relative to the listed one.
        path: of its folder.
        kind: a run, one of several folds, or a race.
        state: where it stands.
        settings: of its recipe; none where it cannot be read.
        accuracy: of its result, else of its last validation, in [0, 1]; what `measure` says.
        measure: accuracy, or mAP where images have several labels.
        interval: its 95 % interval.
        measured_on: the split, and how many images; empty for a validation that is not the last.
        findings: (severity, code) of each, the most severe first.
        changed: time of its recipe, seconds since 1970.
        by_race: ended, or paused until others have come as far, where a race did this; else empty.
    """

    name: str
    path: Path
    kind: EntryKind
    state: RunState
    settings: Mapping[str, Any] = field(default_factory=dict)
    accuracy: float | None = None
    measure: str = ACCURACY
    interval: tuple[float, float] | None = None
    measured_on: str = ""
    findings: tuple[tuple[str, str], ...] = ()
    changed: float = 0.0
    by_race: str = ""

    @property
    def state_text(self) -> str:
        """Where it stands, in words."""
        return f"{self.by_race} by the race" if self.by_race else self.state.kind

    def row(self) -> dict[str, Any]:
        """Returns the entry as `ravine runs --json` prints it."""
        state = self.state
        return {
            "kind": self.kind,
            "name": self.name,
            "path": str(self.path),
            "state": state.kind,
            "by_race": self.by_race,
            "model": self.settings.get("model"),
            "data": self.settings.get("data"),
            "optimizer": self.settings.get("optimizer"),
            "accuracy": self.accuracy,
            "measure": self.measure,
            "interval": self.interval,
            "measured_on": self.measured_on,
            "step": state.step,
            "total_steps": state.total_steps,
            "epoch": state.epoch,
            "elapsed": state.elapsed,
            "left": state.left,
            "images_per_second": state.images_per_second,
            "findings": [{"severity": one, "code": code} for one, code in self.findings],
            "changed": self.changed,
        }


def list_runs(root: Path) -> list[RunEntry]:
    """Returns the runs and races in a folder, and the runs of its races, the newest first.

    Args:
        root: a folder of runs, a race, or a run itself.

    Raises:
        RunError: there is no such folder.
    """
    if not root.is_dir():
        raise RunError(f"no folder {root}; name a folder of runs")
    found = [read_entry(path, root) for path in run_paths(root)]
    return sorted(found, key=lambda one: (-one.changed, one.name))


def run_paths(root: Path) -> Iterator[Path]:
    """Yields the folders of runs and races in `root`, if it is there; links are not followed."""
    if not root.is_dir():
        return
    if _is_run(root):
        yield root
        yield from _inside(root)
        return
    for path in sorted(root.iterdir()):
        if not path.is_symlink() and path.is_dir() and _is_run(path):
            yield path
            yield from _inside(path)


def _is_run(path: Path) -> bool:
    return (path / "recipe.toml").is_file() or (path / "race.json").is_file()


def _inside(path: Path) -> Iterator[Path]:
    """Yields the runs of a race and those of folds."""
    runs = path / "runs"
    inside = runs if (path / "race.json").is_file() and runs.is_dir() else path
    if inside == path and not (path / "fold-1").is_dir():
        return
    for one in sorted(inside.iterdir()):
        if not one.is_symlink() and (one / "recipe.toml").is_file():
            yield one


def read_entry(path: Path, root: Path) -> RunEntry:
    """Returns what a list shows of one run; what is torn is left out."""
    name = path.relative_to(root).as_posix() if path != root else path.name
    if (path / "race.json").is_file():
        return _race(path, name)
    folder = RunFolder(path)
    try:
        settings, plan = read_recipe(folder.recipe)
    except RunError:
        settings, plan = {}, None
    state = read_state(folder, plan=plan or {})
    result = _result(folder)
    interval = result.get("interval") or result.get("mean_ap_interval") or state.interval
    return RunEntry(
        name=name,
        path=path,
        kind="folds" if folder.folds else "run",
        state=state,
        settings=settings,
        accuracy=score_of(result) if result else state.accuracy,
        measure=measure_of(result) if result else state.measure,
        interval=None if interval is None else (interval[0], interval[1]),
        measured_on=f"{result['count']:,} {result['split']}" if result else "",
        findings=_findings(folder),
        changed=_time(folder.recipe),
        by_race=_by_race(path) if state.kind == "stopped" else "",
    )


def _by_race(path: Path) -> str:
    """Returns what a race did to a run that nobody trains: ended, paused, or empty for neither."""
    race = path.parent.parent
    if path.parent.name != "runs" or not (race / "race.json").is_file():
        return ""
    if (race / "results.json").is_file():
        return "ended"
    known = next((race / "outcomes").glob(f"{glob.escape(path.name)}@*.json"), None)
    return "paused" if known is not None and RunFolder(race).is_locked else ""


def _result(folder: RunFolder) -> dict[str, Any]:
    if not folder.evaluation.is_file():
        return {}
    try:
        found = read_json(folder.evaluation)
    except RunError:
        return {}
    return found if fault_in(found, EVALUATION) is None else {}


def _findings(folder: RunFolder) -> tuple[tuple[str, str], ...]:
    try:
        rows = read_findings(folder.findings)
    except RunError:
        return ()
    found = [(str(row.get("severity")), str(row.get("code"))) for row in rows]
    return tuple(sorted(found, key=lambda one: _RANK.get(one[0], 3)))


def _race(path: Path, name: str) -> RunEntry:
    ended = (path / "results.json").is_file()
    kind: StateKind = "running" if RunFolder(path).is_locked else "ended" if ended else "stopped"
    settings: dict[str, Any] = {}
    try:
        base = read_json(path / "race.json").get("base")
        settings = base if isinstance(base, dict) else {}
    except RunError:
        pass
    state = RunState(kind=kind)
    changed = _time(path / "race.json")
    return RunEntry(
        name=name, path=path, kind="race", state=state, settings=settings, changed=changed
    )


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
