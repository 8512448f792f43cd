"""Steps and losses that train on the easiest examples, beside hard ones, all, and robust losses.

Each case changes one step of a classifier of 5 classes, or of a regression.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Batch = tuple[Tensor, Tensor]
Losses = Callable[[Tensor, Tensor], Tensor]
N = 64


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def batches(count: int = 4) -> list[Batch]:
    return [(x, x[:, :5].argmax(1)) for x in torch.randn(count, N, 12)]


def network(outputs: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, outputs))


def cross(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y, reduction="none")


def squares(out: Tensor, y: Tensor) -> Tensor:
    return (out - y).square().mean(1)


def found(
    choose: Callable[[Tensor], Tensor],
    *,
    each: Losses = cross,
    rows: list[Batch] | None = None,
    twice: bool = False,
    learnt: int = 0,
) -> list[tuple[str, str]]:
    """Returns severity and code of what is said of examples that are left out.

    Args:
        choose: the losses (n,) that count, of all (N,).
        each: loss of each example.
        rows: batches.
        twice: the choice is made in a pass of its own, and only what is chosen is sent through.
        learnt: steps on all examples before.
    """
    rows = batches() if rows is None else rows
    model = network(5 if each is cross else 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(batch: Batch, choose: Any = choose) -> None:
        x, y = batch
        if twice:
            with torch.no_grad():
                losses = each(model(x), y)
            kept = torch.isin(losses, choose(losses))
            loss = each(model(x[kept]), y[kept]).mean()
        else:
            loss = choose(each(model(x), y)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for n in range(learnt):
        model.train()
        x, y = rows[n % len(rows)]
        optimizer.zero_grad()
        each(model(x), y).mean().backward()
        optimizer.step()
    said = ravine.check(
        model, lambda out, y: each(out, y).mean(), rows, optimizer, step, learn=False
    )
    return [(one.severity, one.code) for one in said if one.code == "loss-ignores-examples"]


NAMED = [("warning", "loss-ignores-examples")]


def easy(losses: Tensor) -> Tensor:
    return losses.topk(len(losses) // 2, largest=False).values


def easy_most(losses: Tensor) -> Tensor:
    return losses.sort().values[: int(0.8 * len(losses))]


def below_the_mean(losses: Tensor) -> Tensor:
    return losses[losses < losses.mean()]


@pytest.mark.parametrize("choose", [easy, easy_most, below_the_mean])
def test_a_step_that_trains_on_the_smallest_losses_is_named(
    choose: Callable[[Tensor], Tensor],
) -> None:
    assert found(choose) == NAMED
    assert found(choose, twice=True) == NAMED


def test_so_is_one_of_a_regression_and_a_loss_that_chooses_itself() -> None:
    values = [(x, x[:, :2]) for x, _ in batches()]
    assert found(easy, each=squares, rows=values) == NAMED
    assert found(hard, each=squares, rows=values) == []

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return easy(cross(out, y)).mean()

    said = ravine.check(network(), loss, batches(), learn=False)
    assert "loss-ignores-examples" in said.codes


def test_small_losses_of_a_network_that_knows_most_labels_may_be_meant() -> None:
    rows = batches()
    noisy = [(x, torch.where(torch.rand(N) < 0.2, torch.randint(0, 5, (N,)), y)) for x, y in rows]

    assert found(easy_most, rows=noisy, learnt=60) == [("note", "loss-ignores-examples")]


def hard(losses: Tensor) -> Tensor:
    return losses.topk(len(losses) // 2).values


def every_second(losses: Tensor) -> Tensor:
    return losses[::2]


def focal(losses: Tensor) -> Tensor:
    return (1 - (-losses).exp()) ** 2 * losses


@pytest.mark.parametrize("choose", [hard, every_second, focal, lambda losses: losses])
def test_hard_examples_others_and_all_are_not_named(choose: Callable[[Tensor], Tensor]) -> None:
    assert found(choose) == []
    assert found(hard, twice=True) == []


def test_losses_with_a_margin_or_a_bound_are_not_named() -> None:
    for loss in (
        nn.MultiMarginLoss(margin=0.1),
        lambda out, y: cross(out, y).clamp(max=1.6).mean(),
        lambda out, y: cross(out, y).clamp(min=1.6).mean(),
    ):
        said = ravine.check(network(), loss, batches(), learn=False)
        assert "loss-ignores-examples" not in said.codes
