"""Follows a run's files and hands what is appended to trackers; a tracker that fails is left.

Live it works in a thread of its own, so that a server that does not answer holds up no step, and
waits after each turn so long that it takes at most `_SHARE` of the time.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

from ravine.core.errors import RunError
from ravine.runs.file_schemas import EVALUATION, HISTORY, fault_in
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_findings
from ravine.runs.layers_file import read_layer_rows
from ravine.runs.links import is_own_file
from ravine.runs.recipe_file import read_recipe
from ravine.runs.row_reader import RowReader
from ravine.runs.rows import read_json
from ravine.trackers.run_rows import layer_histograms, layer_scalars, scalars_of
from ravine.trackers.tracker import Logs, Tracker, make_tracker

_SHARE: Final = 1 / 400  # of the processor time of a training
_EVERY: Final = 2.0  # seconds between two turns, at least
_LEAVE: Final = 30.0  # seconds for the last turn
_MOST_SNAPSHOTS: Final = 100  # of a run that has ended; live, the newest of each turn
_MOST_PICTURES: Final = 12

Report = Callable[[str], None]


@final
class RunFollower:
    """Hands the rows of one run to one tracker, each once.

    Args:
        tracker: which has not begun.
        run: the run folder.
    """

    def __init__(self, tracker: Tracker, run: Path) -> None:
        self._tracker, self._folder = tracker, RunFolder(run)
        self._history, self._layers = (
            RowReader(run / "history.jsonl"),
            RowReader(run / "layers.jsonl"),
        )
        self._findings: set[tuple[object, object]] = set()
        self._step = 0

    def begin(self) -> None:
        """Opens the run in the tracker."""
        settings = read_recipe(self._folder.recipe)[0]
        self._tracker.begin(self._folder.path, settings)

    def advance(self, *, snapshots: int = 1) -> None:
        """Hands over what was appended.

        Args:
            snapshots: of the layers, at most, the newest always among them.
        """
        for row in self._history.new_rows():
            values = scalars_of(row) if fault_in(row, HISTORY) is None else {}
            if values:
                self._step = int(row["step"])
                self._tracker.scalars(values, self._step, row.get("elapsed"))
        found = read_layer_rows(self._layers.new_rows()).snapshots
        every = max(1, -(-len(found) // snapshots))
        for snapshot in found[::-1][::every][::-1]:
            self._tracker.scalars(layer_scalars(snapshot), snapshot.step, None)
            for name, logs in layer_histograms(snapshot):
                self._tracker.histogram(name, logs, snapshot.step)
        self._new_findings()

    def _new_findings(self) -> None:
        for row in read_findings(self._folder.findings):
            key = (row.get("severity"), row.get("code"))
            if key not in self._findings:
                self._findings.add(key)
                text = (
                    f"{row.get('severity')} {row.get('code')}: {row.get('text')}; {row.get('cure')}"
                )
                self._tracker.text("findings", text, row.get("found") or row.get("step") or 0)

    def end(self) -> None:
        """Hands over the rest, pictures and report, and closes the run in the tracker."""
        self.advance()
        result = _result(self._folder)
        for row in result.get("mistakes", [])[:_MOST_PICTURES]:
            path = self._folder.path / str(row.get("image", ""))
            if path.suffix == ".png" and is_own_file(self._folder.path, path):
                self._tracker.picture(f"mistakes/{path.stem}", path)
        report = self._folder.report
        results = {key: result[key] for key in ("accuracy", "loss") if result.get(key) is not None}
        self._tracker.end(report if report.is_file() else None, results)


def _result(folder: RunFolder) -> Mapping[str, Any]:
    if not folder.evaluation.is_file():
        return {}
    found = read_json(folder.evaluation)
    return found if fault_in(found, EVALUATION) is None else {}


@final
class LiveFollowing:
    """Follows a run in a thread, for all its trackers.

    Args:
        named: trackers by name, or objects with `log(dict, step)`.
        report: receives a line where a tracker fails.

    Raises:
        SettingError: there is no such tracker, or its package is not installed.
    """

    def __init__(self, named: Sequence[str | Logs], report: Report) -> None:
        self._named, self._report = named, report
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        for one in named:
            make_tracker(one)  # a mistake is found before the training

    def begin(self, run: Path) -> None:
        """Follows this run from now on; the one before has ended."""
        self.end()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._follow, args=(run, self._stop), name="trackers", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """Hands over the rest of the run, in some seconds at most."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(_LEAVE)
        if self._thread.is_alive():
            self._report(f"a tracker has not answered for {_LEAVE:.0f} s, and is left")
        self._thread = None

    def _follow(self, run: Path, stop: threading.Event) -> None:
        followers = self._begun(run)
        pause = _EVERY
        while followers and not stop.wait(pause):
            began = time.thread_time()
            followers = self._each(followers, RunFollower.advance)
            pause = max(_EVERY, (time.thread_time() - began) / _SHARE)
        self._each(followers, RunFollower.end)

    def _begun(self, run: Path) -> dict[str, RunFollower]:
        made = [make_tracker(one) for one in self._named]
        followers = {f"{name} {k}": RunFollower(t, run) for k, (name, t) in enumerate(made)}
        return self._each(followers, RunFollower.begin)

    def _each(
        self, followers: Mapping[str, RunFollower], do: Callable[[RunFollower], None]
    ) -> dict[str, RunFollower]:
        """Calls each follower; one that fails is a line, and is not called again."""
        kept = {}
        for key, follower in followers.items():
            try:
                do(follower)
            except Exception as error:
                name = key.rpartition(" ")[0]
                why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                self._report(f"{name} failed, and the run goes on without it ({why})")
            else:
                kept[key] = follower
        return kept


@contextmanager
def following(named: Sequence[str | Logs], report: Report) -> Iterator[LiveFollowing]:
    """Gives what follows runs while they are trained; what is left is handed over at the end."""
    live = LiveFollowing(named, report)
    try:
        yield live
    finally:
        live.end()


def log_run(run: Path, named: str | Logs) -> str:
    """Hands a whole run, finished or not, to a tracker, and returns the tracker's name.

    Raises:
        SettingError: there is no such tracker, or its package is not installed.
        RunError: the tracker fails.
    """
    name, tracker = make_tracker(named)
    follower = RunFollower(tracker, run)
    try:
        follower.begin()
        follower.advance(snapshots=_MOST_SNAPSHOTS)
        follower.end()
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise RunError(f"{name} failed ({why})") from error
    return name
