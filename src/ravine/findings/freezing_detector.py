"""Parameters that trained, and of which nothing is trained any more from one step on."""

from collections.abc import Iterator

from ravine.findings.finding import Finding
from ravine.findings.loop_record import LoopRecord

_FEWEST_BEFORE, _FEWEST_AFTER = 2, 8  # steps
_MOST = 0.5  # of the weights, that rest where a graph is cut; an expert or a task is less


def find_stopped(record: LoopRecord) -> Iterator[Finding]:
    """Yields parameters that learnt in all steps up to one, and in none since.

    A warning where the first validation froze them: what a loop does at each validation it does
    at the first one. Otherwise a note. Layers that are frozen one after the other are meant;
    an expert that is chosen no more, or a task that has ended, is a small part without a gradient.
    """
    part = record.stopped
    if part is None or part.moments > 1:
        return
    if part.step < _FEWEST_BEFORE or record.steps - part.step < _FEWEST_AFTER:
        return
    if not part.is_frozen and part.share < _MOST:
        return
    by_validation = part.validation == 1
    yield Finding(
        severity="warning" if by_validation else "note",
        code="frozen-midway",
        seen=f"{part.tensors} tensors ({part.share:.0%} of the weights) learnt until step "
        f"{part.step}, and in no step since"
        + (": they do not require gradients" if part.is_frozen else ": no gradient reaches them")
        + (" from the first validation on" if by_validation else ""),
        cause="validation, or a function that it calls, switches requires_grad off and not on again"
        if by_validation
        else "they were frozen in the middle of training: meant, or left over from a function that "
        "freezes them for a while (a validation, an export, the step of another network)"
        if part.is_frozen
        else "a part of the loss was left out from then on, or its graph is cut: detach() or "
        "no_grad() under a condition",
        cure="measure under torch.no_grad() and leave requires_grad alone; where the freezing is "
        "meant, take the parameters out of the optimizer",
        step=part.step + 1,
        evidence={"tensors": float(part.tensors), "share": part.share},
    )
