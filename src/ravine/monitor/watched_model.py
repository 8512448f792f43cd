"""What a monitor has to know of a network before it watches it."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ravine.core.errors import SettingError
from ravine.monitor.any_optimizer import AnyOptimizer
from ravine.optim.transaction import Transaction


def optimized_parameters(
    model: nn.Module, optimizer: Optimizer | AnyOptimizer
) -> dict[str, Tensor]:
    """Returns the optimizer's parameters by name, of any shape, in the order of the network.

    Empty where it holds none of this model.
    """
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return {n: p for n, p in model.named_parameters() if id(p) in held}


def learning_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Returns the parameters that learn by name, of any shape, in the order of the network.

    Raises:
        SettingError: none does.
    """
    found: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise SettingError("the model has no parameters that learn; pass one that has")
    return found


def watched_optimizer(
    model: nn.Module, optimizer: Optimizer | Transaction | None
) -> Optimizer | AnyOptimizer:
    """Returns the optimizer of a loop, by what a monitor is given of it.

    Raises:
        SettingError: none is given, and nothing in the model learns.
    """
    if optimizer is None:
        return AnyOptimizer(list(learning_parameters(model).values()))
    return optimizer.optimizer if isinstance(optimizer, Transaction) else optimizer


def synchronises_processes(model: nn.Module) -> bool:
    """Returns whether a forward pass of one process would wait for the others."""
    return (
        torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())
    )


def has_batch_norm(model: nn.Module) -> bool:
    """Returns whether a module of the network is a batch norm."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
