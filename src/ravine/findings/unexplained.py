"""What a loop alone shows and does not explain: notes that say so, and what would decide."""

from collections.abc import Mapping
from typing import Final

from ravine.findings.finding import Findings, as_notes
from ravine.findings.loop_record import LoopRecord

_BEYOND = 10.0  # times the first loss: no contest ends there
_PLATEAU: Final[Mapping[str, tuple[str, str]]] = {
    "plateau": (
        "cannot tell why: nothing that was seen of the loop explains it",
        "ask for the wiring, the labels and the learning rate: ravine.check(model, loss, batches, "
        "optimizer, step=train_one_batch, labels_probe=True)",
    )
}
_CONTEST: Final[Mapping[str, tuple[str, str]]] = {
    "diverged": (
        "several optimizers step parts of the network: the loss of one rises as the other learns; "
        "cannot tell whether it is more than that",
        "record the losses of both, and look at what is generated",
    )
}


def unexplained_as_notes(found: Findings, record: LoopRecord) -> Findings:
    """Returns findings of a monitor in which what nothing explains is a note.

    Args:
        found: merged.
        record: of the loop.
    """
    rising = [one for one in found if one.code == "diverged"]
    is_contest = record.steps_of_others and all(
        one.evidence["end"] < _BEYOND * max(one.evidence["start"], 1e-9) for one in rising
    )
    return as_notes(found, {**_PLATEAU, **(_CONTEST if is_contest else {})})
