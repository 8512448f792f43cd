"""The context of all checks: a network, its loss, batches, optimizer and step, and measurements."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ravine.checks.check_batch import CheckBatch, logits_of
from ravine.checks.loss_form import Loss, LossForm
from ravine.checks.step_record import StepPair, Tensors, Witness
from ravine.core.nested import call_model
from ravine.optim.lr_range_test import RangeTest
from ravine.propagation.unit_activity import UnitActivity
from ravine.propagation.variance import VarianceProfile

Step = Callable[[Any], Any]


@final
@dataclass(slots=True)
class Measurements:
    """What was measured before a check reads it; empty until then.

    Attributes:
        logits: (N, K) of the first batch; None where the output is something else.
        columns: of an output that is one row per label, a single one too; None of another.
        loss_form: how the loss takes them.
        dense: (N, K, …) of the first batch, with a label at each place; None where it is not so.
        dense_form: how the loss takes them.
        reshaped: shapes of the last layer's output and of what a reshape reads it as, where that
            mixes classes and places; None elsewhere.
        last_function: name of the function that made the output, such as linear or softmax.
        ends: names of the functions that made each tensor of the output.
        variance: of the first batch, layer by layer; None before.
        units: activity of each activation, in the order of the calls.
        faded: of each activation, whether its input has next to no variance.
        range_test: of the learning rate; None where there was none.
        steps: what the user's step does; None where none was given.
        witness: what one more call of it does beside that.
        output: first floating tensor of the model's output, detached, in training mode.
        outputs: all of the model's output, its tensors detached, in training mode.
        targets: of the examples of these outputs.
        leaves: tensors at the ends of the loss's graph.
        penalty: gradient of the loss by the weights that does not pass through the output, by
            index of the parameter; and that which does.
        without_gradient: indices of the parameters to which the loss of a batch has no gradient.
        scale_matters: the inputs' scale does not fit, and the outputs change when it is mended.
    """

    logits: Tensor | None = None
    columns: int | None = None
    loss_form: LossForm | None = None
    dense: Tensor | None = None
    dense_form: LossForm | None = None
    reshaped: tuple[torch.Size, torch.Size] | None = None
    last_function: str = ""
    ends: tuple[str, ...] = ()
    variance: VarianceProfile | None = None
    units: tuple[UnitActivity, ...] = ()
    faded: tuple[bool, ...] = ()
    range_test: RangeTest | None = None
    steps: StepPair | None = None
    witness: Witness = field(default_factory=Witness)
    output: Tensor | None = None
    outputs: Any = None
    targets: Any = None
    leaves: tuple[Tensor, ...] = ()
    penalty: tuple[Tensors, Tensors] | None = None
    without_gradient: tuple[int, ...] = ()
    scale_matters: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """All that a check reads; a check changes nothing of model and optimizer.

    Attributes:
        model: any module.
        loss: (output, targets) to a 0-dim tensor.
        samples: the first batches, on the model's device.
        optimizer: of the model, if it was given.
        step: the user's own training step of a batch, if it was given.
        precision: of the range test's activations and products.
        source: the batches as they were given, such as a loader with its data set.
        measured: filled in by `examine` and by the range test.
    """

    model: nn.Module
    loss: Loss
    samples: tuple[CheckBatch, ...]
    optimizer: Optimizer | None
    step: Step | None
    precision: torch.dtype = torch.float32
    source: Any = None
    measured: Measurements = field(default_factory=Measurements)

    def answers_of(self, output: object, sample: CheckBatch) -> Tensor | None:
        """Returns an output (N, K) where its largest number is the answer to a label, else None."""
        form = self.measured.loss_form
        return None if form is not None and not form.answers else logits_of(output, sample)

    def output(self, sample: CheckBatch) -> Any:
        """Returns the model's output on a batch."""
        return call_model(self.model, sample.inputs)

    def value(self, sample: CheckBatch) -> Tensor:
        """Returns the loss of a batch, 0-dim."""
        return self.loss(self.output(sample), sample.targets)


def layer_of(model: nn.Module, parameter: Tensor) -> str:
    """Returns the dotted name of a parameter, of any shape, without its last part."""
    names = [name for name, p in model.named_parameters() if p is parameter]
    return names[0].rpartition(".")[0] or names[0] if names else "?"
