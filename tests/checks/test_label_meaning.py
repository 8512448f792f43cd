"""What labels mean to a loss: places, numbers, or names that it compares; and its likelihoods."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.checks.own_label import find_own_label

Batch = tuple[Tensor, Tensor]
CENTRES = torch.randn(10, 20, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def examples(labels: Tensor) -> Tensor:
    return CENTRES[labels] + 0.5 * torch.randn(len(labels), 20)


def shuffled(count: int = 16, size: int = 32, kinds: int = 10) -> list[Batch]:
    return [(examples(y), y) for y in torch.randint(0, kinds, (count, size))]


def by_class(count: int = 16, *, sorted_: bool = False, single: bool = False) -> list[Batch]:
    """Returns batches of four classes with eight examples each."""
    found = []
    for number in range(count):
        kinds = torch.arange(4) + 6 * (number >= count // 2) if sorted_ else torch.randperm(10)[:4]
        y = (kinds[:1] if single else kinds).repeat_interleave(32 if single else 8)
        found.append((examples(y), y))
    return found


def network(outputs: int = 10) -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, outputs))


def codes(loss: Any, batches: list[Batch], model: nn.Module | None = None) -> tuple[str, ...]:
    return ravine.check(model or network(), loss, batches, learn=False).codes


def triplets(e: Tensor, y: Tensor) -> Tensor:
    d, same = (e[:, None] - e).square().sum(2), y[:, None] == y
    active = F.relu(d[:, :, None] - d[:, None] + 0.5) * (same[:, :, None] & ~same[:, None])
    return active.sum() / ((active > 0).sum() + 1e-9)


def test_batches_of_some_classes_are_meant_where_the_loss_compares_examples() -> None:
    assert "not-shuffled" not in codes(triplets, by_class())
    assert "not-shuffled" in codes(F.cross_entropy, by_class())


def test_a_loss_that_compares_does_not_excuse_classes_in_order() -> None:
    assert "not-shuffled" in codes(triplets, by_class(sorted_=True))
    assert "not-shuffled" in codes(triplets, by_class(single=True))


def test_names_need_no_output_of_their_own() -> None:
    assert "labels-out-of-range" not in codes(triplets, by_class(), network(4))
    assert "labels-out-of-range" in codes(F.cross_entropy, shuffled(), network(4))


def test_a_loss_is_not_given_more_examples_than_a_batch() -> None:
    most = [0]

    def loss(e: Tensor, y: Tensor) -> Tensor:
        most[0] = max(most[0], len(y))
        return triplets(e, y)

    codes(loss, by_class())

    assert most[0] <= 2 * 32


def binary(out: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(out[:, 0], y.float())


def test_one_output_takes_labels_for_numbers() -> None:
    assert codes(binary, shuffled(kinds=2), network(1)) == ()


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (nn.Sigmoid(), "sigmoid-twice"),
        (nn.Softmax(1), "activation-on-logits"),
        (nn.ReLU(), "activation-on-logits"),
        (nn.Tanh(), "activation-on-logits"),
    ],
)
def test_one_output_with_an_end_too_many_is_named_by_that(last: nn.Module, code: str) -> None:
    assert codes(binary, shuffled(kinds=2), nn.Sequential(network(1), last))[0] == code


def test_signs_may_be_labels() -> None:
    def hinge(out: Tensor, y: Tensor) -> Tensor:
        return F.relu(1 - y * out[:, 0]).mean()

    assert codes(hinge, [(x, 2 * y - 1) for x, y in shuffled(kinds=2)], network(1)) == ()


def test_counts_have_no_balance() -> None:
    def poisson(out: Tensor, y: Tensor) -> Tensor:
        return F.poisson_nll_loss(out[:, 0], y.float())

    batches = [(x, torch.where(torch.rand(32) < 0.01, 40, y)) for x, y in shuffled()]

    found = codes(poisson, batches, network(1))

    assert not {"imbalance", "labels-out-of-range"} & set(found)


def tail() -> list[Batch]:
    labels = torch.multinomial(0.6 ** torch.arange(10.0), 16 * 64, replacement=True)
    return [(examples(y), y) for y in labels.split(64)]


def severities(loss: Any, batches: list[Batch]) -> dict[str, str]:
    found = ravine.check(network(), loss, batches, learn=False)
    return {one.code: one.severity for one in found}


def test_the_logarithm_of_the_prior_makes_up_for_a_long_tail() -> None:
    batches = tail()
    prior = torch.cat([y for _, y in batches]).bincount(minlength=10).double() + 1
    prior = (prior / prior.sum()).log().float()

    assert severities(lambda o, y: F.cross_entropy(o + prior, y), batches) == {"imbalance": "note"}
    assert severities(F.cross_entropy, batches) == {"imbalance": "warning"}
    turned = severities(lambda o, y: F.cross_entropy(o - prior, y), batches)
    assert turned["imbalance"] == "warning"


def test_kinds_that_come_later_in_a_list_are_counted() -> None:
    common = [(examples(y), y) for y in (torch.rand(16, 64) < 0.03).long()]
    rest = [(examples(y), y) for y in torch.randint(0, 2, (48, 64))]

    assert "imbalance" in codes(F.cross_entropy, common, network(2))
    assert "imbalance" not in codes(F.cross_entropy, [*common, *rest], network(2))


def test_labels_of_what_it_is_not_have_no_wrong_sign() -> None:
    def complement(out: Tensor, y: Tensor) -> Tensor:
        return -torch.log1p(-out.softmax(1).gather(1, y[:, None])[:, 0]).mean()

    def falls_with_the_label(out: Tensor, y: Tensor) -> Tensor:
        return -F.cross_entropy(out, y)

    assert codes(complement, shuffled()) == ()
    assert codes(falls_with_the_label, shuffled()) == ("loss-of-wrong-sign",)


def test_evidence_may_grow_far() -> None:
    def evidence(out: Tensor, y: Tensor) -> Tensor:
        alpha = F.softplus(out) + 1
        total = alpha.sum(1, keepdim=True)
        p = alpha / total
        apart = (F.one_hot(y, 10) - p).square() + p * (1 - p) / (total + 1)
        return apart.sum(1).mean()

    assert codes(evidence, shuffled()) == ()
    assert codes(lambda o, y: F.cross_entropy(o / 30, y), shuffled()) == ("logits-limited",)


def test_a_unit_that_rests_is_no_group_of_an_encoding() -> None:
    y = torch.randint(0, 10, (3000,)).double()
    unit = torch.where(y < 4, 0.0, y + 0.1 * torch.randn(3000).double())
    values = torch.where(y < 4, (y * 7) % 10, y)

    assert list(find_own_label(unit[:, None], values)) == []


def climbing(loss_given: Callable[[Tensor, Tensor], Tensor]) -> tuple[str, ...]:
    """Returns what is found of a step that raises the mean log-likelihood."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, maximize=True)

    def step(batch: Batch) -> None:
        model.train()
        optimizer.zero_grad()
        likelihood(model(batch[0]), batch[1]).backward()
        optimizer.step()

    return ravine.check(model, loss_given, shuffled(), optimizer, step).codes


def likelihood(out: Tensor, y: Tensor) -> Tensor:
    return out.log_softmax(1).gather(1, y[:, None]).mean()


def test_a_likelihood_may_be_maximised() -> None:
    assert climbing(F.cross_entropy) == ()
    assert climbing(likelihood) == ()
