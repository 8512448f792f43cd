"""The files of a race: plain JSON, written whole, and the run folders of its jobs.

RACE/  race.json · plan.json · state.json · results.json · winner.toml · report.html
       runs/RUN/ · outcomes/KEY.json (and KEY.progress, KEY.log while the job runs)
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, final

from ravine.runs.rows import read_json, write_json
from ravine.tournament.job_graph import Outcome
from ravine.workflows.race_worker.messages import read_outcome


@final
@dataclass(frozen=True, slots=True)
class RaceFolder:
    """The paths of a race."""

    path: Path

    @property
    def runs(self) -> Path:
        """The run folders of all jobs."""
        return self.path / "runs"

    @property
    def outcomes(self) -> Path:
        """The folder with a result file for each job that is done."""
        return self.path / "outcomes"

    @property
    def spec(self) -> Path:
        """Everything that decides the race."""
        return self.path / "race.json"

    @property
    def plan(self) -> Path:
        """The job graph, and what was measured for it."""
        return self.path / "plan.json"

    @property
    def state(self) -> Path:
        """The seconds so far, and why the race was closed."""
        return self.path / "state.json"

    @property
    def results(self) -> Path:
        """All numbers of the report."""
        return self.path / "results.json"

    @property
    def winner(self) -> Path:
        """The recipe of the candidate with the best mean."""
        return self.path / "winner.toml"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    def result(self, key: str) -> Path:
        """Returns the result file of a job."""
        return self.outcomes / f"{key}.json"

    def progress(self, key: str) -> Path:
        """Returns the file with steps done and total steps of a job that runs."""
        return self.outcomes / f"{key}.progress"

    def log(self, key: str) -> Path:
        """Returns the file with what a job printed."""
        return self.outcomes / f"{key}.log"

    def read_outcomes(self) -> dict[str, Outcome]:
        """Returns the outcomes of all jobs that are done, by key.

        Raises:
            RunError: a file holds no outcome.
        """
        return {
            path.name.removesuffix(".json"): read_outcome(path)
            for path in sorted(self.outcomes.glob("*@*.json"))
        }

    def write_outcome(self, key: str, outcome: Outcome) -> None:
        """Writes the outcome of a job."""
        write_json(self.result(key), asdict(outcome))


@final
@dataclass(slots=True, kw_only=True)
class RaceState:
    """How far a race is, as state.json keeps it.

    Attributes:
        elapsed: seconds since the race began, all its processes together.
        closed: why no further job starts; None while jobs start.
        starts: how often each job was started.
        held: seconds for which jobs held their slots.
        worked: seconds that jobs worked in these.
    """

    elapsed: float = 0.0
    closed: str | None = None
    starts: dict[str, int] = field(default_factory=dict)
    held: float = 0.0
    worked: float = 0.0

    @property
    def overhead(self) -> float | None:
        """The share of the held seconds in which no job worked; None before the first job."""
        return 1 - self.worked / self.held if self.held else None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Returns the state in a file, that of a race that has not begun if there is none."""
        if not path.is_file():
            return cls()
        values: Mapping[str, Any] = read_json(path)
        return cls(
            elapsed=float(values["elapsed"]),
            closed=values["closed"],
            starts=dict(values["starts"]),
            held=float(values["held"]),
            worked=float(values["worked"]),
        )

    def write(self, path: Path) -> None:
        """Writes the state into a file."""
        write_json(path, asdict(self))
