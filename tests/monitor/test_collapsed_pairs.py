"""Two views in one tensor, and outputs that are all drawn to one point."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine


class Twins(nn.Module):
    """Predictions and projections of two views (N, 2, 20)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 16)
        )
        self.predictor = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))

    def forward(self, views: Tensor) -> tuple[Tensor, ...]:
        one, two = (self.encoder(views[:, k]) for k in (0, 1))
        return self.predictor(one), self.predictor(two), one, two


@pytest.mark.parametrize("keeps_apart", [True, False])
def test_twins_collapse_where_nothing_keeps_them_apart(keeps_apart: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Twins()
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        with ravine.Monitor(model, optimizer) as monitor:
            for _ in range(200):
                p, q, one, two = model(torch.randn(64, 1, 20) + 1.2 * torch.randn(64, 2, 20))
                loss = 1 - (F.cosine_similarity(p, two) + F.cosine_similarity(q, one)).mean() / 2
                if keeps_apart:
                    loss = loss + F.relu(1 - F.normalize(one, dim=1).std(0) * 4).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                monitor.record(loss=loss.detach())
            found = monitor.findings.codes
    assert ("outputs-collapsed" in found) is not keeps_apart
