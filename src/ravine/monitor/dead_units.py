"""Dead units, judged over several snapshots: a unit that is 0 on a few images may be inactive."""

from typing import final

import torch
from torch import Tensor

from ravine.findings.thresholds import SNAPSHOTS
from ravine.monitor.layer_probe import ProbedLayer


@final
class DeadUnits:
    """For how many snapshots in a row each unit of each ReLU has been 0."""

    def __init__(self) -> None:
        self._inactive_for: dict[str, Tensor] = {}
        self._snapshots: dict[str, int] = {}

    def share(self, layer: ProbedLayer) -> Tensor | None:
        """Returns the share of a ReLU's units that are dead, 0-dim float64; None for others."""
        if layer.inactive is None:
            return None
        before = self._inactive_for.get(layer.name)
        if before is None or before.shape != layer.inactive.shape:
            before = torch.zeros_like(layer.inactive, dtype=torch.int32)
            self._snapshots[layer.name] = 0
        self._inactive_for[layer.name] = now = (before + 1) * layer.inactive
        self._snapshots[layer.name] = count = self._snapshots[layer.name] + 1
        return (now >= min(SNAPSHOTS, count)).double().mean()
