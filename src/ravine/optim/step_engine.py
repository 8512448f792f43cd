"""Which engine steps an optimizer's parameters on the device at hand."""

from collections.abc import Collection, Sequence
from typing import Literal

import torch
from torch import Tensor

from ravine.core.errors import SettingError
from ravine.kernels.library import load_library
from ravine.kernels.triton_library import can_step_on
from ravine.optim.fused_engine import FusedSteps
from ravine.optim.group_record import Group, Variant
from ravine.optim.triton_engine import TritonSteps
from ravine.optim.watched_state import WatchedState

Implementation = Literal["auto", "plain", "fused", "triton"]
StepEngine = FusedSteps | TritonSteps


def engine_kind(
    implementation: Implementation, devices: Collection[torch.device]
) -> type[StepEngine] | None:
    """Returns the class of the engine for parameters on these devices; None: tensor by tensor.

    Raises:
        SettingError: the engine that `implementation` names does not exist here.
    """
    on_gpu = any(device.type == "cuda" for device in devices)
    if implementation == "plain":
        return None
    if implementation == "triton" or (implementation == "auto" and on_gpu):
        if any(map(can_step_on, devices)):
            return TritonSteps
        if implementation == "triton":
            raise SettingError(
                "implementation: triton needs Triton and parameters on a GPU, got "
                f'{", ".join(sorted(map(str, devices)))}; take "auto"'
            )
        return None
    if load_library() is not None:
        return FusedSteps
    if implementation == "fused":
        raise SettingError(
            "implementation: fused needs the C library, which this installation lacks; "
            'install a C compiler and then the package again, or take "auto"'
        )
    return None


def build_engine(
    kind: type[StepEngine],
    groups: Sequence[Group],
    state: WatchedState,
    variant: Variant,
    *,
    excluded: Collection[Tensor],
) -> StepEngine:
    """Returns the engine of an optimizer whose parameters with gradients have their state.

    Args:
        kind: from `engine_kind`.
        groups: the optimizer's groups.
        state: its state.
        variant: returns the name of a group's rule.
        excluded: parameters, of any shape, that are stepped tensor by tensor.
    """
    if kind is TritonSteps:
        return TritonSteps(groups, state, variant, excluded=excluded)
    library = load_library()
    assert library is not None, "`engine_kind` names this engine only where the library is"
    return FusedSteps(library, groups, state, variant, excluded=excluded)
