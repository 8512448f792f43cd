"""Findings while a run is trained: judged from its files as they grow, and reported as they arise.

What a run cannot be judged by before its end (whether its learning rate falls too early, whether
the network is too small) is left to its end. A finding is reported when two judgements in a row
have it, and taken back when two in a row no longer do. Judging takes at most `_SHARE` of the time.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

from ravine.checks.check_table import EXPLAINS
from ravine.core.errors import RunError
from ravine.core.events import EpochDone, Event, Notice, Observer, RolledBack, StepDone
from ravine.findings.finding import Finding, merge
from ravine.findings.history_detectors import find_over_time
from ravine.findings.layer_detectors import find_in_snapshots
from ravine.findings.run_trace import trace
from ravine.findings.thresholds import AT_CHANCE
from ravine.runs.file_schemas import HISTORY, fault_in
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_findings
from ravine.runs.layers_file import LayerRecords, read_layer_rows
from ravine.runs.recipe_file import read_recipe
from ravine.runs.row_reader import RowReader
from ravine.runs.rows import rewrite_rows
from ravine.workflows.run_findings import WHILE_TRAINING, bounds_of, is_normalised

_SHARE: Final = 1 / 300  # of the time of a training
_EVERY: Final = 1.0  # seconds, at least
_MOST_ROWS, _MOST_SNAPSHOTS = 4096, 64
_KEPT = ("kind", "step", "loss", "lr", "skipped", "accuracy", "train_loss", "train_accuracy")
# A plateau is judged from this share of the steps on, and is critical from that one on; so many
# steps at least, since a warm-up is no plateau.
_PATIENCE, _CERTAIN, _FEWEST_STEPS = 0.1, 0.25, 50
_AT_THE_END = ("underfitting", "rate-too-low")


@final
@dataclass(slots=True, kw_only=True)
class LiveFindings:
    """An observer that judges a run while it is trained; it reads files and changes no training.

    Attributes:
        folder: of the run.
        classes: K.
        emit: receives a notice of each finding.
        clock: seconds, to keep to the share of the time.
    """

    folder: RunFolder
    classes: int
    emit: Observer
    clock: Callable[[], float] = time.monotonic
    _history: RowReader = field(init=False)
    _layers: RowReader = field(init=False)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _records: LayerRecords = field(default_factory=LayerRecords)
    _settings: Mapping[str, Any] | None = None
    _due: float = 0.0
    _seen: dict[str, Finding] = field(default_factory=dict)
    _reported: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._history = RowReader(self.folder.history)
        self._layers = RowReader(self.folder.layers)
        self._due = self.clock() + _EVERY

    def __call__(self, event: Event) -> None:
        """Judges the run where it is time to; a rollback takes back what was found after it."""
        if isinstance(event, RolledBack):
            self._seen.clear()
            self._forget_after(event.to)
        elif isinstance(event, StepDone | EpochDone) and self.clock() >= self._due:
            began = self.clock()
            self._judge(event.step, event.total_steps)
            spent = self.clock() - began
            self._due = self.clock() + max(_EVERY, spent / _SHARE)

    def _judge(self, step: int, total_steps: int) -> None:
        self._read()
        found = {one.code: one for one in self._found(step, total_steps)}
        explained = {code for one in found.values() for code in one.symptoms}
        changed = False
        for code in list(self._reported):
            if code not in found and code not in self._seen:
                del self._reported[code]
                changed = True
                if code not in explained:
                    self.emit(Notice(text=f"step {step}: {code} is over"))
        for code, one in found.items():
            held = self._reported.get(code)
            worse = held is not None and held["severity"] == "warning" != one.severity
            if code in self._seen and (held is None or worse):
                row = {**one.row(), "by": WHILE_TRAINING, "found": step}
                self._reported[code] = row
                changed = True
                self.emit(_notice(one, row))
        self._seen = found
        if changed:
            self._write()

    def _found(self, step: int, total_steps: int) -> Iterator[Finding]:
        if self._settings is None:
            self._settings = read_recipe(self.folder.recipe)[0]
        run = trace(
            self._rows,
            classes=self.classes,
            normalised=is_normalised(self._settings),
            **bounds_of(self.folder, self._settings, self.classes),
        )
        found = [
            *find_over_time(run),
            *find_in_snapshots(self._records.snapshots, not_finite=self._records.not_finite),
        ]
        for one in merge(found, EXPLAINS):
            if one.code in _AT_THE_END or one.severity == "note":
                continue
            if one.code != "plateau":
                yield one
            elif step >= max(_PATIENCE * total_steps, _FEWEST_STEPS):
                sure = step >= _CERTAIN * total_steps and one.evidence["loss"] >= run.level(
                    AT_CHANCE
                )
                yield one if sure else replace(one, severity="warning")

    def _read(self) -> None:
        """Takes up what was appended to the files; of long runs not every row is kept."""
        rows = list(self._history.new_rows())
        if self._history.started_anew:
            self._rows.clear()
        whole = (row for row in rows if fault_in(row, HISTORY) is None)
        self._rows += ({k: row[k] for k in _KEPT if k in row} for row in whole)
        while len(self._rows) > _MOST_ROWS:
            self._rows = _thinned(self._rows)
        layers = read_layer_rows(self._layers.new_rows())
        before = LayerRecords() if self._layers.started_anew else self._records
        self._records = LayerRecords(
            snapshots=(*before.snapshots, *layers.snapshots)[-_MOST_SNAPSHOTS:],
            not_finite=before.not_finite or layers.not_finite,
        )

    def _forget_after(self, step: int) -> None:
        kept = {code: row for code, row in self._reported.items() if row["found"] <= step}
        if kept != self._reported:
            self._reported = kept
            self._write()

    def _write(self) -> None:
        others = [r for r in read_findings(self.folder.findings) if r.get("by") != WHILE_TRAINING]
        try:
            rewrite_rows(self.folder.findings, [*others, *self._reported.values()])
        except RunError as error:  # a checkpoint that cannot be written ends the run, not this
            self.emit(Notice(text=f"a finding is not kept: {error}", warning=True))


def _thinned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows without every second one of a step whose loss is finite."""

    def must_stay(row: Mapping[str, Any]) -> bool:
        return row["kind"] != "step" or row.get("loss") is None

    return [row for k, row in enumerate(rows) if k % 2 == 0 or must_stay(row)]


def _notice(one: Finding, row: Mapping[str, Any]) -> Notice:
    since = f" since step {one.step}" if one.step else ""
    text = f"step {row['found']}: {one.severity} {one.code}{since}: {one.seen}; {one.cure}"
    return Notice(text=text, warning=True, details={"finding": row})
