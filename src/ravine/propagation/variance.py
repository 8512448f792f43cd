"""Variance of activations and gradients, layer by layer: predicted and measured.

One real pass is recorded; the theory (`propagation_table.py`) follows it forward from the batch's
own moments, and backward from the measured gradient at the end.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.core.nested import call_model, tensors_in
from ravine.core.preserve_state import preserve_state
from ravine.nn.freezing import training_mode_
from ravine.propagation.operations import Operation
from ravine.propagation.recording import Recording

WEIGHTED = ("linear", "conv1d", "conv2d", "conv3d")
_WIDEST = 300.0  # of a logarithm; exp of it is still a number


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerVariance:
    """One operation of a forward pass. Variances are over batch, channels and positions together.

    Attributes:
        layer: dotted name of the module in which it ran.
        kind: its class, or the function's name.
        weighted: a convolution or linear layer.
        forward: measured variance of the output.
        forward_predicted: by the theory; None where it has no prediction for the layer.
        forward_band: the factor around the prediction, both ways, within which finite width and
            batch leave the measurement in 95 % of draws of the weights; None without a prediction.
        backward: measured variance of the derivative of the loss by the output, if there is one.
        backward_predicted: by the theory; None where it has none.
        backward_band: the same as forward.
    """

    layer: str
    kind: str
    weighted: bool
    forward: float
    forward_predicted: float | None
    forward_band: float | None
    backward: float | None
    backward_predicted: float | None
    backward_band: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceProfile:
    """The variances of a network on a batch, in the order of the calls.

    Attributes:
        layers: one for each operation on an activation.
    """

    layers: tuple[LayerVariance, ...]

    @property
    def weighted(self) -> tuple[LayerVariance, ...]:
        """The convolutions and linear layers."""
        return tuple(layer for layer in self.layers if layer.weighted)

    def factor(self, direction: str = "forward", *, predicted: bool = False) -> float:
        """Returns the factor of the variance from one weighted layer to the next.

        It is the slope of the logarithm, by least squares, over all weighted layers but the last,
        which is the classifier. Backward, the factor is that of a step towards the input.

        Args:
            direction: forward or backward.
            predicted: that of the theory instead of the measurement.
        """
        name = f"{direction}_predicted" if predicted else direction
        values = [getattr(layer, name) for layer in self.weighted[:-1]]
        known = [(n, math.log(v)) for n, v in enumerate(values) if v is not None and v > 0]
        if len(known) < 2:
            return math.nan
        at, logs = np.array(known).T
        slope = float(np.polyfit(at, logs, 1)[0])
        return math.exp(slope if direction == "forward" else -slope)

    def row(self, name: str) -> dict[str, Any]:
        """Returns plain values, as in variance.json, under a name of the network."""
        kinds = {layer.kind for layer in self.layers if layer.forward_predicted is None}
        return {
            "name": name,
            "layers": [_finite(asdict(layer)) for layer in self.weighted],
            "not_predicted": sorted(kinds),
            "factors": {
                direction: _finite(
                    {
                        "measured": self.factor(direction),
                        "predicted": self.factor(direction, predicted=True),
                    }
                )
                for direction in ("forward", "backward")
            },
        }


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values with None for NaN and infinity, which JSON does not have."""
    lost = {k for k, v in values.items() if isinstance(v, float) and not math.isfinite(v)}
    return {k: None if k in lost else v for k, v in values.items()}


def variance_profile(
    model: nn.Module,
    inputs: Tensor | tuple[Any, ...] | dict[str, Any],
    loss: Callable[[Any], Tensor],
) -> VarianceProfile:
    """Returns predicted and measured variance of every layer, forward and backward.

    The model runs once in training mode and is afterwards bitwise what it was: weights,
    buffers, modes, gradients, hooks and random state.

    Args:
        model: any module.
        inputs: a batch (N, …), a tuple of arguments, or a dictionary of named ones.
        loss: of the model's output to a 0-dim tensor.

    Raises:
        SettingError: the model has no parameters, it raises on these inputs, or the loss is not
            one number.
    """
    if next((p for p in model.parameters() if p.requires_grad), None) is None:
        raise SettingError("the model has no parameters that learn; pass one that has")
    with preserve_state(model), torch.enable_grad():
        recording = record(training_mode_(model), inputs, loss)
    return VarianceProfile(layers=as_layers(recording, inputs))


def as_layers(recording: Recording, inputs: Any) -> tuple[LayerVariance, ...]:
    """Returns the variances of a recording, those of the inputs left out."""
    return tuple(_row(op) for op in recording.operations[len(_activations(inputs)) :])


def record(model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor]) -> Recording:
    """Runs the model forward and backward once, and returns the recording.

    `inputs` holds tensors of any shape; `loss` takes the output and returns a 0-dim tensor.
    """
    recording = Recording(model, _activations(inputs))
    with recording.watching():
        try:
            output = call_model(model, inputs)
        except Exception as error:
            raise SettingError(
                f"the model raises on this batch: {type(error).__name__}: {error}; "
                "pass inputs that model(inputs) takes: a tensor, a tuple or a dict of arguments"
            ) from error
    for tensor in tensors_in(output):
        if (op := recording.operation_of(tensor)) is not None:
            op.wants_gradient = True
    value = loss(output)
    if not isinstance(value, Tensor) or value.dim() != 0:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise SettingError(f"loss must return one number (0-dim tensor), got {shape}; take .mean()")
    learning = [p for p in model.parameters() if p.requires_grad]
    if value.requires_grad:
        # Not backward(): that would add to the gradients that the user keeps.
        found = torch.autograd.grad(value, learning, allow_unused=True)
        recording.slopes = dict(zip(learning, found, strict=True))
    recording.output, recording.loss = output, value
    recording.propagate_backward()
    return recording


def _activations(inputs: Any) -> list[Tensor]:
    return [t for t in tensors_in(inputs) if t.is_floating_point() and t.dim() > 1]


def _row(op: Operation) -> LayerVariance:
    assert op.signal is not None
    theory = None if op.wants_gradient else op.theory
    images = op.shape[0]
    return LayerVariance(
        layer=op.layer,
        kind=op.kind,
        weighted=op.name in WEIGHTED,
        forward=op.measured,
        forward_predicted=op.signal.total if op.predicted else None,
        forward_band=_band(op.signal.spread, images) if op.predicted else None,
        backward=op.gradient,
        backward_predicted=None if theory is None else theory.total,
        backward_band=None if theory is None else _band(theory.spread, images),
    )


def _band(spread: float, images: int) -> float:
    """Returns the factor of 95 %, where the log of the variance has the variance `spread`.

    The measurement on a batch adds the relative variance of a variance, 2/N; a layer that no
    example is sent to (an expert) measures nothing.
    """
    if not images:
        return math.exp(_WIDEST)
    return math.exp(min(1.96 * math.sqrt(spread + 2 / images), _WIDEST))
