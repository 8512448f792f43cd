"""Networks inside the wrappers of torch.compile and of data parallelism."""

import sys
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """Returns the network inside torch.compile's and data-parallel wrappers."""
    if type(model).__name__ == "OptimizedModule":  # whose import costs a second
        return unwrapped(model._modules["_orig_mod"] or model)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return unwrapped(model.module)
    return model


def uncompiled() -> AbstractContextManager[object]:
    """Returns a context in which compiled functions run as they were written.

    What watches each operation would be compiled too, or not be seen.
    """
    if "torch._dynamo" not in sys.modules:  # nothing has been compiled
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
