"""A pair of small networks: one makes rows of six numbers, the other judges them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MakerAndJudge(nn.Module):
    """Judges what its maker makes (N, 4 → 6), or what it is given itself (N, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.maker = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 6))
        self.judge = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.judge(self.maker(x) if x.shape[1] == 4 else x)
        return logits


def real(out: Tensor, _: object = None) -> Tensor:
    """Returns the loss of logits (N, 1), all of which should say that a row is real."""
    return F.binary_cross_entropy_with_logits(out, torch.ones_like(out))
