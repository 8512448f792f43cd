"""All findings of a monitor, from what it recorded: one call for `Monitor.findings`."""

from collections.abc import Sequence

from ravine.core.snapshot import NotFinite, Snapshot
from ravine.findings.collapse_detector import find_collapse
from ravine.findings.detectors import RUN_EXPLAINS
from ravine.findings.finding import Findings, merge
from ravine.findings.history_detectors import find_over_time
from ravine.findings.layer_detectors import find_in_snapshots
from ravine.findings.loop_detectors import find_in_loop
from ravine.findings.loop_record import LoopRecord
from ravine.findings.loss_scale import find_other_scale, on_one_scale
from ravine.findings.run_trace import Trace
from ravine.findings.unexplained import unexplained_as_notes
from ravine.findings.validation_detectors import find_in_validation


def findings_of_run(
    record: LoopRecord,
    run: Trace,
    snapshots: Sequence[Snapshot[float]],
    *,
    not_finite: NotFinite | None,
) -> Findings:
    """Returns what is wrong, merged.

    Args:
        record: of the loop.
        run: the recorded losses, as they were given.
        snapshots: oldest first.
        not_finite: the first value that was not finite.
    """
    comparable = on_one_scale(record, run)
    found = [
        *find_other_scale(record, run),
        *find_in_loop(record, comparable),
        *find_collapse(record, comparable),
        *find_in_validation(record, comparable),
        *find_over_time(comparable),
        *find_in_snapshots(snapshots, not_finite=not_finite),
    ]
    return unexplained_as_notes(merge(found, RUN_EXPLAINS), record)
