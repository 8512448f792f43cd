"""Networks that refuse part of a batch, and those that fail for another reason."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.core.errors import SettingError


class Graph(nn.Module):
    """Two rounds of messages between N nodes, along fixed links (N, N)."""

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.register_buffer("links", torch.eye(nodes).roll(1, 0))
        self.first, self.second = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.second(self.links @ F.relu(self.first(self.links @ x)))
        return logits


class Tiring(nn.Module):
    """Raises in its third call, and never again."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(6, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("tired")
        logits: Tensor = self.layer(x)
        return logits


def batches(nodes: int) -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(nodes, 6), torch.arange(nodes) % 3) for _ in range(2)]


def test_a_graph_is_checked_as_a_whole() -> None:
    torch.manual_seed(0)
    assert ravine.check(Graph(96), F.cross_entropy, batches(96)).codes == ()


def test_what_fails_for_another_reason_is_not_hidden() -> None:
    torch.manual_seed(0)
    with pytest.raises((SettingError, RuntimeError), match="tired"):
        ravine.check(Tiring(), F.cross_entropy, batches(96))
