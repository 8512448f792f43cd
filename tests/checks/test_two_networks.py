"""Steps of two networks with an optimizer each: a generator that learns, and one that cannot."""

import pytest
import torch
import torch.nn.functional as F
from tests.checks.maker_and_judge import MakerAndJudge, real
from torch import Tensor, nn

import ravine

Batch = tuple[Tensor, Tensor]


@pytest.mark.parametrize("cut", [False, True])
def test_a_maker_without_a_gradient_is_named_and_one_with_is_no_fault(cut: bool) -> None:
    torch.manual_seed(0)
    model = MakerAndJudge()
    judges = torch.optim.Adam(model.judge.parameters(), 1e-3)
    makers = torch.optim.Adam(model.maker.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        made = model.maker(batch[0])
        judges.zero_grad()
        (real(model.judge(batch[1])) + real(-model.judge(made.detach()))).backward()
        judges.step()
        makers.zero_grad()
        loss = real(model.judge(made.detach() if cut else made))
        loss.backward()
        makers.step()
        return loss.detach()

    batches = [(torch.randn(32, 4), torch.randn(32, 6) + 2) for _ in range(4)]
    found = ravine.check(model, real, batches, makers, step=step, learn=False)

    assert found.codes[:1] == (("no-gradient",) if cut else ())


class Skipping(nn.Module):
    """Passes over each of its layers by chance while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if not self.training or torch.rand(()) < 0.5:
                x = x + layer(x).relu()
        return self.head(x)


def test_layers_that_are_passed_over_by_chance_are_no_fault() -> None:
    torch.manual_seed(0)
    batches = [(torch.randn(32, 4), torch.randint(0, 3, (32,))) for _ in range(8)]

    assert ravine.check(Skipping(), F.cross_entropy, batches, learn=False).codes == ()


class Pairs(nn.Module):
    """Compares each example's first view with the second ones of all."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        first, second = (F.normalize(self.body(x), dim=1) for x in (a, b))
        return 10 * first @ second.T


def test_a_network_that_compares_the_examples_of_a_batch_is_no_fault() -> None:
    torch.manual_seed(0)
    batches = [
        ((x, x + 0.1 * torch.randn(32, 6)), torch.arange(32))
        for x in torch.randn(4, 32, 6).unbind()
    ]

    assert ravine.check(Pairs(), F.cross_entropy, batches, labels_probe=True).codes == ()
