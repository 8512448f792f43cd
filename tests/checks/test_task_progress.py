"""Two tasks of one body, of which one has a small weight: learnt all the same, or not."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 24), nn.Tanh())
        self.kind, self.value = nn.Linear(24, 3), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.body(x)
        return self.kind(inner), self.value(inner)


# Of the classes: their weight, whether they follow from the inputs, and the optimizer's rate.
@pytest.mark.parametrize(
    ("weight", "is_told", "named"), [(0.05, True, True), (0.05, False, False), (0.7, True, False)]
)
def test_a_task_that_is_learnt_alone_and_not_beside_another_is_drowned(
    weight: float, is_told: bool, named: bool
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x, way = torch.randn(16, 64, 12), torch.randn(12, 3)
        kinds = (x @ way).argmax(2) if is_told else torch.randint(0, 3, (16, 64))
        values = x.square().sum(2, keepdim=True) / 5 - 2.4
        batches = [(a, (b, c)) for a, b, c in zip(x, kinds, values, strict=True)]
        model = Two()

        def loss(out: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
            kind = F.cross_entropy(out[0], targets[0])
            return weight * kind + F.mse_loss(out[1], targets[1])

        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        found = ravine.check(model, loss, batches, optimizer, learn=False)

    assert ("task-drowned" in found.codes) == named
