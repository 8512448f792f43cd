"""Where a run stands, from its files: running, ended, or stopped and by whom it is to be resumed.

A process that trains holds the lock of its folder, and the lock ends with it: a run that has not
ended and whose folder nobody holds was stopped or killed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from ravine.core.errors import RunError
from ravine.runs.file_schemas import HISTORY, fault_in
from ravine.runs.folder import RunFolder
from ravine.runs.recipe_file import read_recipe
from ravine.runs.row_reader import last_rows
from ravine.runs.score import ACCURACY, measure_of, score_of

StateKind = Literal["running", "ended", "stopped"]
_TAILS = (1 << 13, 1 << 17, 1 << 20)  # bytes of history.jsonl: some 35 rows, 600, 4,700
_WANTED = {"step", "epoch", "validation"}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Where a run stands.

    Attributes:
        kind: running, ended, or stopped: by a signal, a kill or an error.
        step: attempted steps so far; 0 before the first row.
        total_steps: of the plan; None before it is made.
        epoch: epochs so far.
        elapsed: seconds of training so far.
        left: seconds of training that are left at the speed so far; None where it is not known.
        loss: mean training loss of the last row.
        accuracy: of the last validation, in [0, 1]; what `measure` says.
        measure: accuracy, or mAP where images have several labels.
        interval: its 95 % interval.
        images_per_second: of the last row.
    """

    kind: StateKind
    step: int = 0
    total_steps: int | None = None
    epoch: float = 0.0
    elapsed: float | None = None
    left: float | None = None
    loss: float | None = None
    accuracy: float | None = None
    measure: str = ACCURACY
    interval: tuple[float, float] | None = None
    images_per_second: float | None = None


def read_state(folder: RunFolder, *, plan: Mapping[str, Any] | None = None) -> RunState:
    """Returns where a run stands; only the end of its history is read.

    Args:
        folder: of the run.
        plan: of its recipe, where that was read already.
    """
    kind = _kind(folder)
    if plan is None:
        try:
            plan = read_recipe(folder.recipe)[1]
        except RunError:
            plan = None
    return state_of(_last_of_each(folder), kind=kind, total_steps=_total(plan))


def _last_of_each(folder: RunFolder) -> list[dict[str, Any]]:
    """Returns the last row of steps, that of an epoch and that of a validation, oldest first.

    More of the file is read where its end holds no epoch, as of epochs that take long.
    """
    for size in _TAILS:
        rows = last_rows(folder.history, size)
        kept: dict[str, dict[str, Any]] = {}
        for row in reversed(rows):
            names = {str(row.get("kind"))} | ({"validation"} if _is_validation(row) else set())
            if names - kept.keys() and fault_in(row, HISTORY) is None:
                kept |= dict.fromkeys(names - kept.keys(), row)
            if len(kept) == len(_WANTED):
                break
        if kept.keys() >= _WANTED or len(rows) < 2:
            break
    return sorted(kept.values(), key=lambda row: row["step"])


def _is_validation(row: Mapping[str, Any]) -> bool:
    return row.get("kind") == "epoch" and score_of(row) is not None


def _kind(folder: RunFolder) -> StateKind:
    # The weights are written when the last step is done; without held-out images no result follows.
    if folder.evaluation.is_file() or folder.model.is_file():
        return "ended"
    return "running" if folder.is_locked else "stopped"


def _total(plan: Mapping[str, Any] | None) -> int | None:
    """Returns the last step of a plan, as it was corrected or stopped last."""
    values = plan or {}
    several = values.get("corrections")
    later = [values.get("correction"), *(several if isinstance(several, list) else ())]
    known = [one for one in (values, *later, values.get("stop")) if isinstance(one, Mapping)]
    totals = [one.get("total_steps") for one in known]
    found = [total for total in totals if type(total) is int and total > 0]
    return found[-1] if found else None


def state_of(
    rows: Sequence[Mapping[str, Any]], *, kind: StateKind, total_steps: int | None
) -> RunState:
    """Returns the state that the last rows of a history tell.

    >>> state = state_of(
    ...     [{"kind": "step", "step": 25, "epoch": 0.5, "elapsed": 5.0, "loss": 1.0}],
    ...     kind="running",
    ...     total_steps=100,
    ... )
    >>> state.left, state.loss
    (15.0, 1.0)
    """
    steps = [row for row in rows if row.get("kind") == "step"]
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    last = max([*steps[-1:], *epochs[-1:]], key=lambda row: row["step"], default={})
    known = [row for row in epochs if score_of(row) is not None]
    validated: Mapping[str, Any] = known[-1] if known else {}
    step, elapsed = int(last.get("step", 0)), last.get("elapsed")
    left = None
    if kind == "running" and total_steps and step and elapsed is not None:
        left = max(0.0, (total_steps - step) * elapsed / step)
    interval = validated.get("interval")
    return RunState(
        kind=kind,
        step=step,
        total_steps=total_steps,
        epoch=float(last.get("epoch", 0.0)),
        elapsed=elapsed,
        left=left,
        loss=last.get("loss") if last.get("kind") == "step" else last.get("train_loss"),
        accuracy=score_of(validated),
        measure=measure_of(validated),
        interval=None if interval is None else (interval[0], interval[1]),
        images_per_second=last.get("images_per_second"),
    )
