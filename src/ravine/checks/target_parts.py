"""Two parts of the targets that speak of the same classes, in two orders of them.

Distillation gives a label and a teacher's outputs. Where the teacher answers each label with one
class, and not with that one, the two were numbered by two lists of names.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.core.nested import tensors_in
from ravine.findings.finding import Finding
from ravine.findings.thresholds import RENUMBERED, RENUMBERED_BESIDE

_FEWEST = 64  # labels
_CLASSES = 3
_DIFFERENT = 0.8  # of the answers, over the labels they are given to


def check_target_parts(context: CheckContext) -> Iterator[Finding]:
    """Yields outputs (N, K) among the targets whose classes are in another order than the labels.

    K is the number of the network's own outputs, so that features and boxes are none of them.
    """
    out = context.measured.output
    if out is None or out.dim() != 2 or out.shape[1] < _CLASSES:
        return
    found = _labels_and_answers(context.samples, out.shape[1])
    if found is None:
        return
    labels, answers = found
    present = labels.unique()
    if len(labels) < _FEWEST or len(present) < max(_CLASSES, out.shape[1] // 2):
        return
    partner = {k: int(answers[labels == k].mode().values) for k in present.tolist()}
    same = float((answers == labels).double().mean())
    other = torch.tensor([partner[k] for k in labels.tolist()])
    steady = float((answers == other).double().mean())
    is_order = len(set(partner.values())) >= _DIFFERENT * len(partner)
    if is_order and steady > RENUMBERED and same < RENUMBERED_BESIDE * steady:
        shown = ", ".join(f"{k} → {v}" for k, v in list(partner.items())[:4])
        yield Finding(
            severity="critical",
            code="targets-contradict",
            seen=f"of {len(labels)} examples the outputs among the targets answer the label's own "
            f"class in {same:.0%}, and one other class for each label in {steady:.0%} ({shown}, …)",
            cause="labels and teacher number the classes by two lists of names: one was sorted, or "
            "comes from another data set",
            cure="bring the teacher's outputs into the order of the labels: theirs[:, order]",
            evidence={"same": same, "steady": steady},
        )


def _labels_and_answers(
    samples: Sequence[CheckBatch], classes: int
) -> tuple[Tensor, Tensor] | None:
    """Returns labels (N,) and the largest of the outputs (N, K) beside them, of all batches."""
    labels, answers = list[Tensor](), list[Tensor]()
    for sample in samples:
        parts = [t.detach().cpu() for t in tensors_in(sample.targets) if t.dim()]
        ours = [t for t in parts if t.dim() == 1 and not t.is_floating_point()]
        theirs = [t for t in parts if t.is_floating_point() and t.shape[1:] == (classes,)]
        if len(ours) != 1 or len(theirs) != 1 or len(ours[0]) != len(theirs[0]):
            return None
        known = (ours[0] >= 0) & (ours[0] < classes)
        labels.append(ours[0][known].long())
        answers.append(theirs[0].argmax(1)[known])
    return torch.cat(labels), torch.cat(answers)
