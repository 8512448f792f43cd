"""Gradients that one network's loss leaves in another, cleared or not before that one's own."""

import pytest
import torch
import torch.nn.functional as F
from tests.checks.maker_and_judge import MakerAndJudge, real
from torch import Tensor, nn

import ravine

Batch = tuple[Tensor, Tensor]


# When the judge's gradients are cleared: before all, before its own pass, after its own step.
@pytest.mark.parametrize(("clears", "named"), [("all", True), ("own", False), ("after", True)])
@pytest.mark.parametrize("is_whole", [True, False])
def test_what_the_maker_leaves_in_the_judge_is_named(
    clears: str, named: bool, is_whole: bool
) -> None:
    torch.manual_seed(0)
    both = MakerAndJudge()
    judges = torch.optim.Adam(both.judge.parameters(), 1e-3)
    makers = torch.optim.Adam(both.maker.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        made = both.maker(torch.randn(32, 4))
        makers.zero_grad()
        if clears == "all":
            judges.zero_grad()
        real(both.judge(made)).backward()
        makers.step()
        if clears == "own":
            judges.zero_grad()
        loss = real(both.judge(batch[0])) + real(-both.judge(made.detach()))
        loss.backward()
        judges.step()
        if clears == "after":
            judges.zero_grad()
        return loss.detach()

    batches = [(torch.randn(32, 6) + 2, torch.ones(32, 1)) for _ in range(4)]
    model = both if is_whole else both.judge
    before = [p.detach().clone() for p in model.parameters()]
    found = ravine.check(model, real, batches, judges, step=step, learn=False)

    assert ("gradients-not-cleared" in found.codes) == named
    assert all(map(torch.equal, before, model.parameters()))


def test_an_optimizer_that_gathers_gradients_over_calls_is_no_fault() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    often = torch.optim.SGD(model[2].parameters(), 0.1)
    rarely, calls = torch.optim.SGD(model[0].parameters(), 0.1), [0]

    def step(batch: Batch) -> Tensor:
        often.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        often.step()
        calls[0] += 1
        if calls[0] % 4 == 0:
            rarely.step()
            rarely.zero_grad()
        return loss.detach()

    batches = [(torch.randn(32, 6), torch.randint(0, 3, (32,))) for _ in range(4)]

    found = ravine.check(model, F.cross_entropy, batches, often, step=step, learn=False)

    assert "gradients-not-cleared" not in found.codes
