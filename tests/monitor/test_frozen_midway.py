"""Parts that learn until some step and in none since, beside those that come and go, or are told.

Each case changes one training of 60 steps with a validation after every tenth.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

STEPS, EVERY = 60, 10


class Net(nn.Module):
    """Three layers; `cut` ends the graph below the head, `skip` leaves the middle one out.

    Beside the head stands an expert, until `has_expert` is false.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle = nn.Linear(8, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 3)
        self.expert = nn.Linear(16, 3)
        self.cut = self.skip = False
        self.has_expert = True

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        x = x if self.skip else self.middle(x).relu()
        x = x.detach() if self.cut else x
        return self.head(x) + self.expert(x) if self.has_expert else self.head(x)


def freeze(net: Net, *names: str, on: bool = False) -> None:
    for name in names:
        net.get_submodule(name).requires_grad_(on)


def freezes(net: Net) -> None:
    freeze(net, "first", "middle")


def freezes_for_a_while(net: Net) -> None:
    freezes(net)
    net(torch.randn(4, 8))
    freeze(net, "first", "middle", on=True)


def nothing(_net: Net, _step: int = 0) -> None:
    pass


def found_with(
    *,
    validate: Callable[[Net], None] = nothing,
    begin: Callable[[Net, int], None] = nothing,
    told: bool = False,
) -> list[tuple[str, str]]:
    """Returns severity and code of what is said of frozen parts.

    Args:
        validate: what a validation does, too.
        begin: what the loop does before a step.
        told: whether the optimizer loses what is frozen.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, chance = Net(), torch.Generator().manual_seed(0)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        with ravine.Monitor(net, optimizer, every=20) as monitor:
            for step in range(STEPS):
                begin(net, step)
                if told:
                    group = optimizer.param_groups[0]
                    group["params"] = [p for p in net.parameters() if p.requires_grad]
                x = torch.randn(32, 8, generator=chance)
                optimizer.zero_grad()
                loss = F.cross_entropy(net(x), x[:, :3].argmax(1))
                loss.backward()
                optimizer.step()
                monitor.record(loss=loss)
                if step % EVERY == EVERY - 1:
                    validate(net)
                    monitor.record(loss=loss.item(), split="validation")
            return [(f.severity, f.code) for f in monitor.findings if f.code == "frozen-midway"]


def test_a_validation_that_freezes_is_named() -> None:
    assert found_with(validate=freezes) == [("warning", "frozen-midway")]


def test_what_rests_from_the_middle_on_is_said_and_may_be_meant() -> None:
    def once(net: Net, step: int) -> None:
        if step == 25:
            freezes(net)

    def cuts(net: Net, step: int) -> None:
        net.cut = step >= 25

    assert found_with(begin=once) == [("note", "frozen-midway")]
    assert found_with(begin=cuts) == [("note", "frozen-midway")]


def by_turns(net: Net, step: int) -> None:
    net.skip = step % 3 == 0


def seldom(net: Net, step: int) -> None:
    net.skip = step not in {0, 4, 7}


def one_by_one(net: Net, step: int) -> None:
    freeze(net, *{20: ("first",), 35: ("middle",)}.get(step, ()))


def without_expert(net: Net, step: int) -> None:
    net.has_expert = step < 25


def thawing(net: Net, step: int) -> None:
    freeze(net, "first", "middle", on=step >= 25)


def for_a_phase(net: Net, step: int) -> None:
    freeze(net, "first", on=not 10 <= step < 40)


@pytest.mark.parametrize(
    "begin", [nothing, by_turns, seldom, one_by_one, without_expert, thawing, for_a_phase]
)
def test_parts_that_come_and_go_and_plans_of_freezing_are_not_named(
    begin: Callable[[Net, int], None],
) -> None:
    assert found_with(begin=begin) == []


def test_freezing_that_is_taken_back_or_told_to_the_optimizer_is_not_named() -> None:
    assert found_with(validate=freezes_for_a_while) == []
    assert found_with(validate=freezes, told=True) == []
