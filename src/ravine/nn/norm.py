"""Normalisation by name.

Batch: Ioffe, Szegedy 2015. Group: Wu, He 2018, which needs no batch.
"""

from torch import nn

from ravine.core.validation import check_choice
from ravine.nn.layer_names import Norm

NORMS = ("batch", "group", "none")
_GROUPS = 32  # Wu, He 2018; fewer where the channels do not divide


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """Returns the normalisation layer of (B, `channels`, H, W).

    Raises:
        SettingError: `kind` is unknown.
    """
    check_choice("norm", kind, NORMS)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        groups = max(g for g in range(1, _GROUPS + 1) if channels % g == 0)
        return nn.GroupNorm(groups, channels)
    return nn.Identity()
