"""What a step does to each parameter: gradient norm, update ratio, effective learning rate.

Large parameters are compared on a sample of their elements, so that a snapshot costs about as
much for a wide network as for a narrow one.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.optim import Optimizer

from ravine.core.snapshot import NotFinite, ParameterStatistics
from ravine.monitor.any_optimizer import AnyOptimizer

_SAMPLE = 16384  # elements of a parameter that are compared
# The slot of squared gradients by the optimizers' own names, ours and torch's.
_SQUARES = ("G", "exp_avg_sq", "square_avg", "sum")


def gradient_norms(parameters: Sequence[Tensor]) -> Tensor:
    """Returns the norm of each parameter's gradient, (P,) float64, 0 where there is none.

    Accumulated in float32 or wider; only a gradient that is not finite itself, or whose norm is
    beyond float32, has a norm that is not finite.

    Args:
        parameters: P tensors of any shapes, on one device.
    """
    held = [index for index, p in enumerate(parameters) if p.grad is not None]
    norms = torch.zeros(len(parameters), dtype=torch.float64)
    if not held:
        return norms
    gradients = [_dense(parameters[index].grad) for index in held]
    wide = [g if g.dtype in (torch.float32, torch.float64) else g.float() for g in gradients]
    found = torch.stack([n.double() for n in _norms(wide)])
    indices = torch.tensor(held, device=found.device)
    return norms.to(found.device).index_copy(0, indices, found)


def _dense(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    found = gradient.detach()
    return found.coalesce().values() if found.is_sparse else found


def _norms(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    return list(torch._foreach_norm(list(tensors))) if tensors else []


@final
class UpdateRatios:
    """‖Δw‖/‖w‖ of each parameter by one step.

    Made before the step; `values` after it.

    Args:
        parameters: name and parameter.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._after = {name: sample_of(p) for name, p in parameters.items() if p.numel()}
        self._before = {name: x.clone() for name, x in self._after.items()}

    def values(self) -> dict[str, Tensor]:
        """Returns ‖Δw‖/‖w‖ of each parameter that has elements, 0-dim float64."""
        names = list(self._after)
        after, before = list(self._after.values()), list(self._before.values())
        changes = torch._foreach_sub(after, before)
        sizes, moves = _norms(before), _norms(changes)
        return {
            name: move.double() / size.double()
            for name, size, move in zip(names, sizes, moves, strict=True)
        }


def sample_of(p: Tensor) -> Tensor:
    """Returns a parameter (any shape), or a view (n,) of elements evenly spread in memory."""
    x = p.detach()
    step = x.numel() // _SAMPLE
    whole = x.untyped_storage().nbytes() // x.element_size() - x.storage_offset() >= x.numel()
    packed = x.is_contiguous() or (
        x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    )
    if step < 2 or not packed or not whole:
        return x
    return x.as_strided((x.numel() // step,), (step,), x.storage_offset())


def effective_learning_rates(
    optimizer: Optimizer | AnyOptimizer,
) -> Iterator[tuple[Tensor, Tensor | float]]:
    """Yields each parameter with its effective learning rate, 0-dim.

    For the adaptive methods the median of η/(√Ĝ + ε) over the elements, Ĝ as the method has it:
    the sum of squared gradients for AdaGrad, their mean for RMSProp, corrected for its start for
    the Adams. For the others it is η.
    """
    for group in optimizer.param_groups:
        for p in group["params"]:
            # Not state[p]: that would make an empty state.
            state = optimizer.state.get(p)
            slot = next((state[s] for s in _SQUARES if s in state), None) if state else None
            if isinstance(slot, Tensor) and state is not None:
                yield p, _median_learning_rate(slot, state, group)
            else:
                yield p, group["lr"]


def _median_learning_rate(
    squares: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]
) -> Tensor:
    G = sample_of(squares).float()
    if "betas" in group:
        k = torch.as_tensor(state["step"], dtype=torch.float64)
        G = G / (1 - group["betas"][1] ** k).to(G)
    ε = float(group.get("eps", 0.0))
    root = (G + ε).sqrt() if group.get("eps_in_root", False) else G.sqrt() + ε
    return group["lr"] / root.double().median()


def parameter_statistics(
    parameters: Mapping[str, Tensor],
    optimizer: Optimizer | AnyOptimizer,
    ratios: UpdateRatios,
    norms: Tensor | None,
) -> dict[str, ParameterStatistics[Tensor | float]]:
    """Returns what the last step did to each parameter.

    Args:
        parameters: P of any shapes, by name.
        optimizer: that took the step.
        ratios: made before it.
        norms: (P,) of their gradients.
    """
    values = ratios.values()
    learning_rates = {id(p): lr for p, lr in effective_learning_rates(optimizer)}
    return {
        name: ParameterStatistics(
            update_ratio=values.get(name),
            gradient_norm=None if norms is None else norms[index],
            learning_rate=learning_rates.get(id(p), math.nan),
        )
        for index, (name, p) in enumerate(parameters.items())
    }


def not_finite_by_norms(step: int, parameters: Mapping[str, Tensor], norms: Tensor) -> NotFinite:
    """Returns where norms of gradients (P,) stopped being finite.

    That is the gradient nearest to the output; where none is finite, the loss was not.
    """
    names = [n for n, p in parameters.items() if p.requires_grad]
    broken = [name for name, norm in zip(parameters, norms.tolist(), strict=True)
              if not math.isfinite(norm)]  # fmt: skip
    if len(broken) == len(names):
        return NotFinite(step=step, layer=None, direction="forward")
    return NotFinite(step=step, layer=broken[-1].rpartition(".")[0], direction="backward")
