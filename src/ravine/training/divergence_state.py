"""The state by which a run judges whether it diverges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor


@final
@dataclass(slots=True, kw_only=True)
class DivergenceState:
    """What decides about a rollback; a part of the training state.

    Attributes:
        scale: factor of the learning rates.
        times: number of rollbacks.
        points: steps of the states that were good, the oldest first; at most the last two.
        skipped: steps that had been undone at the last judgement.
        best: least mean loss of a window.
        sums: (3,) float64: the losses since the last judgement, how many were finite, the first
            loss.
    """

    scale: float = 1.0
    times: int = 0
    points: list[int] = field(default_factory=list)
    skipped: int = 0
    best: float = math.inf
    sums: Tensor = field(
        default_factory=lambda: torch.tensor([0.0, 0.0, math.nan], dtype=torch.float64)
    )

    def add(self, loss: Tensor) -> None:
        """Adds the loss of a step, 0-dim on its device."""
        loss = loss.double()
        finite = loss.isfinite()
        self.sums = self.sums.to(loss.device)
        total, count, first = self.sums
        self.sums = torch.stack(
            (
                total + torch.where(finite, loss, 0.0),
                count + finite,
                torch.where(first.isnan() & finite, loss, first),
            )
        )

    def tensors(self) -> dict[str, Tensor]:
        """Returns its tensors by name: `sums` (3,)."""
        return {"sums": self.sums}

    def values(self) -> dict[str, Any]:
        """Returns its plain values."""
        return {
            "scale": self.scale,
            "times": self.times,
            "points": list(self.points),
            "skipped": self.skipped,
            "best": self.best if math.isfinite(self.best) else None,
        }

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restores saved tensors, of the shapes of `tensors`, and saved values."""
        self.sums = tensors["sums"].clone()
        self.scale, self.times = float(values["scale"]), int(values["times"])
        self.points, self.skipped = [int(p) for p in values["points"]], int(values["skipped"])
        self.best = math.inf if values["best"] is None else float(values["best"])
