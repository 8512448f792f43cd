"""Batch norm's statistics, measured for the weights that a network has ("precise BN").

Wu, Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3: in training mode without
gradient, μ = E[μ_B] and σ² = E[σ²_B + μ_B²] − μ², weighted by the values of a batch. Running
statistics are means over the last 1/momentum steps, with weights that the network no longer has.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ravine.nn.freezing import is_frozen

_BATCH_NORMS = nn.modules.batchnorm._BatchNorm
Inputs = TypeVar("Inputs")


def norms_with_statistics(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Returns the batch norms that keep running statistics; frozen ones keep theirs for good."""
    return [
        m
        for m in model.modules()
        if isinstance(m, _BATCH_NORMS) and m.running_mean is not None and not is_frozen(m)
    ]


@torch.no_grad()
def measure_norm_statistics_(
    model: nn.Module, batches: Iterable[Inputs], *, call: Callable[[Inputs], Any]
) -> None:
    """Replaces the running statistics by measured ones, the variance unbiased like those.

    Only the batch norms are in training mode meanwhile, so that dropout is off. All else, the
    count of batches included, is left as it was. A norm that is never called keeps its statistics.

    Args:
        model: the network.
        batches: inputs of `call`, each with at least two values per channel at every norm.
        call: runs the network on one batch.
    """
    norms = norms_with_statistics(model)
    sums = [_Moments() for _ in norms]
    modes = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    model.eval()
    try:
        with preserve_statistics(model), ExitStack() as hooks:
            for norm, moments in zip(norms, sums, strict=True):
                norm.reset_running_stats()  # 0 · ∞ of a run that diverged would be NaN
                norm.momentum = 1.0  # the running statistics are those of the batch
                norm.train()
                hooks.callback(norm.register_forward_hook(moments.add).remove)
            for inputs in batches:
                call(inputs)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in modes.items():
            module.training = training
    for norm, moments in zip(norms, sums, strict=True):
        moments.write_to(norm)


@contextmanager
def preserve_statistics(model: nn.Module) -> Iterator[None]:
    """Restores the buffers of the batch norms at its end, bit for bit."""
    kept = [
        (buffer, buffer.clone())
        for norm in norms_with_statistics(model)
        for buffer in norm.buffers(recurse=False)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)


class _Moments:
    """Count, mean and sum of squared deviations of all batches so far, merged in float64.

    Chan, Golub, LeVeque 1979: nothing is lost where the mean is much larger than the deviation.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, norm: nn.Module, inputs: Sequence[Tensor], _output: object) -> None:
        """Adds the statistics that one call has left in `norm`, whose momentum is 1."""
        found_mean, found_var = norm.running_mean, norm.running_var
        assert isinstance(found_mean, Tensor)
        assert isinstance(found_var, Tensor)
        count = inputs[0].numel() // inputs[0].shape[1]
        mean, squares = found_mean.double(), found_var.double() * (count - 1)
        if self._mean is None or self._squares is None:
            self._count, self._mean, self._squares = count, mean, squares
            return
        total = self._count + count
        apart = mean - self._mean
        self._squares = self._squares + squares + apart**2 * (self._count * count / total)
        self._mean = self._mean + apart * (count / total)
        self._count = total

    def write_to(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        """Writes mean and unbiased variance into the running statistics."""
        if self._mean is None or self._squares is None:
            return
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(self._mean)
        norm.running_var.copy_(self._squares / (self._count - 1))
