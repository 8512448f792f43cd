"""What a loss takes integer labels for: places of outputs, numbers, or names that it compares.

A loss of two classes may take one output and labels 0 and 1 as numbers; a loss of embeddings asks
which labels are equal. For both, a label above the number of outputs is no mistake.
"""

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.loss_form import form_of
from ravine.checks.made_up_outputs import slope_of, slopes_in_parts, whole_parts

_MOST = 1024  # labels that are asked
_FAR, _ALIKE = 3, 4  # above all outputs; examples of each label
_CORRECTED = 0.5  # of the pull to the common classes that is left


def are_no_indices(context: CheckContext, beyond: Tensor, outputs: int) -> bool:
    """Returns whether a loss takes labels (k,) outside its outputs for numbers or for names.

    One that looks up an output by its label refuses a label above them. Asked on the processor,
    where such a label ends no device's work.
    """
    above = beyond[beyond >= outputs].cpu()
    asked = above if len(above) else torch.tensor([outputs + _FAR])
    asked = torch.cat([asked, torch.zeros_like(asked)]).to(beyond.dtype).repeat(_ALIKE)
    generator = torch.Generator().manual_seed(0)
    made = torch.rand(len(asked), outputs, generator=generator)  # probabilities would do, too
    slope = slope_of(context.loss, made, asked)
    return slope is not None and bool(slope.isfinite().all())


def compares_examples(context: CheckContext) -> bool:
    """Returns whether the loss of an example depends on the others of its batch."""
    form, logits = context.measured.loss_form, context.measured.logits
    if form is None and logits is not None:  # labels are looked at before
        form = form_of(context.loss, logits, context.samples[0].targets[: len(logits)])
    return form is not None and not form.separate


def corrects_frequency(context: CheckContext, labels: Tensor, classes: int) -> bool:
    """Returns whether the loss of labels (N,) is not lowered by answering the common classes.

    At equal outputs a mean of cross-entropies pulls each class's output to its frequency. Weights
    by class, or the logarithm of the frequencies added to the outputs, take that pull away.
    """
    size = len(context.samples[0])
    labels = whole_parts(labels, size=size, most=_MOST)
    equal = torch.zeros(len(labels), classes).to(labels.device)
    slope = slopes_in_parts(context.loss, equal, labels, size=size)
    if slope is None or not bool(slope.isfinite().all()) or not bool(slope.any()):
        return False
    pull = slope.double().mean(0).norm() / slope.double().norm(dim=1).mean()
    plain = 1 / classes - torch.nn.functional.one_hot(labels, classes).double()
    return bool(pull < _CORRECTED * plain.mean(0).norm() / plain.norm(dim=1).mean())
