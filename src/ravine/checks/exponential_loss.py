"""Losses that grow exponentially with how wrong an answer is: a few examples decide each step.

Cross-entropy grows in proportion to a wrong logit, a squared error as its square. A weight that was
meant to be bounded, such as the (1 − p)² of a focal loss, and that takes exp(+loss) for p, makes an
exponential of it. The loss is called on outputs that are made up, wrong by three sizes.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor
from torch.nn.functional import one_hot

from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import value_of
from ravine.findings.finding import Finding
from ravine.findings.thresholds import GROWS_BY

_SIZES = (3.0, 6.0, 9.0)  # of a wrong logit


def check_exponential(context: CheckContext) -> Iterator[Finding]:
    """Yields a loss of labels, or of zeros and ones, that is e times as high for each logit."""
    wrong = _wrong_answers(context)
    if wrong is None:
        return
    targets = context.samples[0].targets[: len(wrong)]
    values = [value_of(context.loss, size * wrong, targets) for size in _SIZES]
    if not all(math.isfinite(v) and v > 0 for v in values):
        return
    first, second = (
        math.log(after / before) / (_SIZES[1] - _SIZES[0]) for before, after in pairwise(values)
    )
    # A power grows ever more slowly in this measure; its first step may be large.
    if min(first, second) > GROWS_BY:
        yield Finding(
            severity="warning",
            code="loss-grows-exponentially",
            seen=f"the loss of wrong answers is {values[0]:.3g}, {values[1]:.3g} and "
            f"{values[2]:.3g} for wrong logits of 3, 6 and 9: e^{second:.2g} times as high for "
            "each by which one grows",
            cause="a factor that was meant to be bounded grows with the loss: exp(+loss) where a "
            "focal loss takes p = exp(−loss), or an exponential of each example's loss",
            cure="write p = torch.exp(-loss), and (1 - p) ** gamma * loss; a few wrong examples "
            "decide each step else",
            evidence={"rate": second, "wrong_by_3": values[0], "wrong_by_9": values[2]},
        )


def _wrong_answers(context: CheckContext) -> Tensor | None:
    """Returns outputs of size 1 that are wrong; None where the targets are no answers."""
    measured, targets = context.measured, context.samples[0].targets
    for out, form in ((measured.logits, measured.loss_form), (measured.dense, measured.dense_form)):
        if out is not None and form is not None and form.answers:
            classes = out.shape[1]
            labels = targets[: len(out)].clamp(0, classes - 1)
            return one_hot((labels + 1) % classes, classes).movedim(-1, 1).to(out)
    out = measured.output
    if out is None or not isinstance(targets, Tensor) or not targets.is_floating_point():
        return None
    targets = targets[: len(out)]
    is_binary = bool(((targets == 0) | (targets == 1)).all()) and bool((targets != 0).any())
    return (1 - 2 * targets).to(out) if is_binary and out.shape == targets.shape else None
