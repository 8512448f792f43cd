"""Dead units, told over several looks: a unit that is 0 on a few images only rests."""

from typing import Any, final

import torch
from torch import Tensor

from ravine.findings.thresholds import LOOKS
from ravine.monitor.snapshot import LayerLook


@final
class Silence:
    """For how many looks in a row each unit of each ReLU has been 0."""

    def __init__(self) -> None:
        self._since: dict[str, Tensor] = {}
        self._seen: dict[str, int] = {}

    def values(self, look: LayerLook) -> dict[str, Any]:
        """Returns the values of a layer, with `dead`, the share of units that are, for a ReLU."""
        if look.silent is None:
            return dict(look.values)
        before = self._since.get(look.name)
        if before is None or before.shape != look.silent.shape:
            before = torch.zeros_like(look.silent, dtype=torch.int32)
            self._seen[look.name] = 0
        self._since[look.name] = since = (before + 1) * look.silent
        self._seen[look.name] = seen = self._seen[look.name] + 1
        dead = (since >= min(LOOKS, seen)).double().mean()
        return {**look.values, "dead": dead}
