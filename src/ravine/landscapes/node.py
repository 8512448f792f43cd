"""The loss at one node: fixed batches, a named policy for batch norm, a standard error."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.core.nested import call_model, tensors_in, to_device
from ravine.nn.precise_batch_norm import measure_norm_statistics_

LossFunction = Callable[[Any, Any], Tensor]
_BATCH_NORMS = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True, slots=True)
class NodeLoss:
    """A mean loss, its standard error (NaN where there is one value only), and how many values."""

    loss: float
    error: float
    count: int


class FixedBatches:
    """Batches drawn once, the same at every node.

    A batch is (inputs, targets) or (input, input, …, targets); `inputs` may be a tensor, a
    tuple (several arguments) or a mapping (arguments by name).

    Args:
        batches: any iterable of batches; it is read once, up to `most`.
        most: batches to keep, None for all.
        device: where they are kept.

    Raises:
        SettingError: there is no batch, or a batch has no targets.
    """

    def __init__(self, batches: Iterable[Any], *, most: int | None, device: torch.device) -> None:
        self.pairs: list[tuple[Any, Any]] = []
        for batch in batches:
            if most is not None and len(self.pairs) == most:
                break
            self.pairs.append(_pair(batch, device))
        if not self.pairs:
            raise SettingError("there are no batches to compute the loss on; pass at least one")

    def on(self, device: torch.device) -> "FixedBatches":
        """Returns the same batches on another device."""
        moved = copy(self)
        moved.pairs = [to_device(pair, device) for pair in self.pairs]
        return moved

    @property
    def digest(self) -> str:
        """A hash of all values, by which a later call recognises the batches."""
        total = hashlib.sha256()
        for pair in self.pairs:
            for tensor in tensors_in(pair):
                total.update(str((tensor.dtype, tuple(tensor.shape))).encode())
                total.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return total.hexdigest()[:16]


def _pair(batch: Any, device: torch.device) -> tuple[Any, Any]:
    if not isinstance(batch, Sequence) or isinstance(batch, str) or len(batch) < 2:
        raise SettingError("a batch must be (inputs, targets) or (input, input, …, targets)")
    *inputs, targets = (to_device(_ordered(part), device) for part in batch)
    return (inputs[0] if len(inputs) == 1 else tuple(inputs)), targets


def _ordered(value: Any) -> Any:
    """Returns mappings in the order of their keys and lists as tuples: one digest for one value."""
    if isinstance(value, Mapping):
        return {key: _ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return tuple(_ordered(part) for part in value)
    return value


def has_batch_norm(model: nn.Module) -> bool:
    """Returns whether a policy makes a difference."""
    return any(isinstance(module, _BATCH_NORMS) for module in model.modules())


@torch.no_grad()
def node_loss(
    model: nn.Module,
    loss: LossFunction,
    batches: FixedBatches,
    *,
    policy: str,
    precision: torch.dtype = torch.float32,
) -> NodeLoss:
    """Returns the mean loss over the batches with the present weights of the model.

    Args:
        model: its buffers and modes may change; use it inside `preserve_all_but_weights`.
        loss: of (outputs, targets): one value for each example, (B,), or their mean, a scalar.
        batches: the same at every node.
        policy: one of `POLICIES`, for batch norm.
        precision: of activations and products.
    """
    device = next(model.parameters()).device
    _set_norm_mode(model, batches, policy)
    values: list[Tensor] = []
    weights: list[int] = []
    for inputs, targets in batches.pairs:
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            outputs = call_model(model, inputs)
        found = loss(_as_float32(outputs), targets)
        values.append(found.detach().double().reshape(-1))
        weights.append(examples_of(targets, inputs) if found.numel() == 1 else 1)
    return _mean_and_error(values, weights)


def _set_norm_mode(model: nn.Module, batches: FixedBatches, policy: str) -> None:
    """Puts the model into evaluation mode, with the batch-norm statistics of `policy`."""
    if policy == "re-estimated" and has_batch_norm(model):
        measure_norm_statistics_(
            model, [inputs for inputs, _ in batches.pairs], call=lambda one: call_model(model, one)
        )
    model.eval()
    if policy == "batch":
        for module in model.modules():
            if isinstance(module, _BATCH_NORMS):
                module.train()


def _mean_and_error(values: list[Tensor], weights: list[int]) -> NodeLoss:
    joined = torch.cat(values)
    sizes = [w for part, w in zip(values, weights, strict=True) for _ in range(len(part))]
    shares = torch.tensor(sizes, dtype=torch.float64, device=joined.device)
    shares /= shares.sum()
    mean = (shares * joined).sum()
    count = len(joined)
    spread = (shares * (joined - mean) ** 2).sum() / (count - 1) if count > 1 else mean * math.nan
    return NodeLoss(float(mean), float(spread.sqrt()), count)


def examples_of(targets: Any, inputs: Any) -> int:
    """Returns the number of examples in a batch: the length of its first tensor, 1 without one."""
    for tensor in tensors_in((targets, inputs)):
        if tensor.dim():
            return len(tensor)
    return 1


def _as_float32(outputs: Any) -> Any:
    half = (torch.bfloat16, torch.float16)
    return outputs.float() if isinstance(outputs, Tensor) and outputs.dtype in half else outputs
