"""Triton: imported when the first step asks for it, and asked whether it can run."""

import os
import warnings
from functools import cache
from importlib import import_module
from types import ModuleType

import torch

_OFF = "RAVINE_KERNELS"


@cache
def load_triton() -> ModuleType | None:
    """Returns `ravine.kernels.triton_table`, or None where there is no Triton.

    On a machine with a GPU a warning says once why. `RAVINE_KERNELS=off` in the environment
    leaves it out without a word.
    """
    if os.environ.get(_OFF, "on") == "off":
        return None
    try:
        module = import_module("ravine.kernels.triton_table")
        if torch.cuda.is_available():
            module.try_out()
    # Whatever a compiler, a driver or a package of another version may raise.
    except Exception as error:
        if torch.cuda.is_available():
            reason = str(error).strip().splitlines() or [type(error).__name__]
            warnings.warn(
                f"Ravine steps on the GPU without Triton, more slowly: {reason[0]}. "
                f"{_OFF}=off silences this.",
                stacklevel=3,
            )
        return None
    return module


def can_step_on(device: torch.device) -> bool:
    """Tells whether Triton can step parameters on a device: GPUs, the CPU when it interprets."""
    module = load_triton()
    if module is None:
        return False
    return device.type == "cuda" or (device.type == "cpu" and bool(module.INTERPRETED))
