"""Labels of validation that say something else than those of training, by how sure the network is.

A network answers examples of validation with the probabilities that it has learnt. Where it is as
sure there as in training, in both modes, responds to both alike, and training's labels bear it out
while those of validation do not, the labels differ and not the examples. One that has memorised its
examples is surer of them, or its training loss is near 0 and nothing can be told.
"""

import math

from ravine.findings.finding import Finding
from ravine.findings.loop_record import LoopRecord
from ravine.findings.run_trace import Trace

_ABOVE, _WITHIN, _LEAST = 0.18, 0.08, 0.15  # of the loss of knowing nothing
_AS_SURE = 0.05  # between mean probabilities
_THE_SAME = 0.9  # of the answers in both modes, and with both statistics
_ALIKE = 2.0  # distance of responses that are drawn alike is near 1


def have_other_labels(record: LoopRecord, run: Trace, train: float, loss: float) -> bool:
    """Returns whether labels of validation alone make its loss higher.

    Args:
        record: of the monitor.
        run: the recorded losses.
        train: last training loss.
        loss: last validation loss.
    """
    is_seen = record.validations > record.elsewhere + record.swapped
    if run.classes is None or run.floor > 0.01 or not is_seen or record.in_training_mode:
        return False
    sure = (record.sure_in_training, record.sure_while_training, record.sure_in_validation)
    agree = [s for s in (record.modes_agree, record.norms_agree) if not math.isnan(s)]
    response = record.response
    is_alike = response is not None and response.distance < _ALIKE
    if not is_alike or not max(sure) - min(sure) < _AS_SURE or min(agree, default=0) < _THE_SAME:
        return False
    doubt, unit = record.doubt_in_validation, run.chance
    is_borne_out = _LEAST * unit < train < doubt + _WITHIN * unit
    return is_borne_out and loss > doubt + _ABOVE * unit


def other_labels(record: LoopRecord, train: float, loss: float) -> Finding:
    """Returns the finding of labels of validation that are others than those of training."""
    doubt = record.doubt_in_validation
    return Finding(
        severity="warning",
        code="validation-labels-unrelated",
        seen=f"the network is as sure in validation ({record.sure_in_validation:.2f}) as in "
        f"training ({record.sure_in_training:.2f}) and responds to both alike; labels of training "
        f"bear that out (loss {train:.3g}, entropy of the answers {doubt:.3g}), those of "
        f"validation do not ({loss:.3g})",
        cause="labels of validation are others for the same images: some classes are numbered "
        "otherwise (folders sorted in two ways, one that is missing), or they are wrong",
        cure="take one table of classes for both; count for each label of validation which answer "
        "is the commonest: it must be the label",
        evidence={"training": train, "validation": loss, "entropy": doubt},
    )
