"""How far back a recurrent network sees, and columns that were made from their own targets."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.checks.own_label import find_own_label


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Last(nn.Module):
    """The state after the last step, or the mean of all."""

    def __init__(self, kind: type[nn.RNNBase] = nn.RNN, *, mean: bool = False) -> None:
        super().__init__()
        self.rnn: nn.Module = kind(2, 24, batch_first=True)
        self.head, self.mean = nn.Linear(24, 4), mean

    def forward(self, x: Tensor) -> Tensor:
        states = self.rnn(x)[0]
        return self.head(states.mean(1) if self.mean else states[:, -1])


def sequences(*, told_at: int) -> list[tuple[Tensor, Tensor]]:
    centres, found = 3 * torch.randn(4, 10, 2), []
    for _ in range(8):
        y = torch.randint(4, (32,))
        x = torch.randn(32, 80, 2)
        x[:, told_at : told_at + 10] += centres[y]
        found.append((x, y))
    return found


@pytest.mark.parametrize(
    ("model", "told_at", "is_named"),
    [(Last(), 0, True), (Last(), 70, False), (Last(mean=True), 0, False)],
    ids=["told at the start", "told at the end", "the mean of all states"],
)
def test_a_recurrence_that_forgets_what_tells_the_label_is_named(
    model: nn.Module, told_at: int, is_named: bool
) -> None:
    found = ravine.check(model, F.cross_entropy, sequences(told_at=told_at), learn=False).codes
    assert ("vanishing-at-start" in found) == is_named


def test_gates_that_forget_at_the_start_are_a_note() -> None:
    batches = sequences(told_at=0)
    found = ravine.check(Last(nn.GRU), F.cross_entropy, batches, learn=False)
    assert [(one.code, one.severity) for one in found] == [("vanishing-at-start", "note")]


def encoded(how: str, count: int = 1024, kinds: int = 250) -> tuple[Tensor, Tensor]:
    """Returns columns (N, 3) of which the second is the mean target of a category, and targets."""
    category, other = torch.randint(kinds, (2, count))
    tendency = torch.rand(kinds).double()
    y = (torch.rand(count).double() < tendency[category]).double()
    fresh = (torch.rand(count).double() < tendency[other]).double()
    rows, targets = (other, fresh) if how == "other rows" else (category, y)
    number = torch.zeros(kinds).double().index_add_(0, rows, torch.ones(count).double())
    sums = torch.zeros(kinds).double().index_add_(0, rows, targets)
    means = (sums / number.clamp_min(1))[category]
    column = tendency[category] if how == "a tendency" else means
    return torch.stack([torch.randn(count).double(), column, torch.randn(count).double()], 1), y


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", ["own rows", "other rows", "a tendency"])
def test_an_encoding_of_the_own_row_is_known_by_its_groups_chance(how: str, seed: int) -> None:
    torch.manual_seed(seed)
    found = [one.column for one in find_own_label(*encoded(how))]
    assert found == [1] * (how == "own rows")


@pytest.mark.parametrize("drawn_to_all", [0.0, 5.0, 50.0])
@pytest.mark.parametrize("own", [True, False])
def test_so_is_one_that_is_drawn_to_the_mean_of_all_where_groups_are_small(
    own: bool, drawn_to_all: float
) -> None:
    kinds, count = 200, 4000
    often = 1 / torch.arange(1.0, kinds + 1)
    category = often.multinomial(count, replacement=True)
    tendency = torch.randn(kinds).double() / 2
    y = tendency[category] + torch.randn(count).double()
    given = torch.ones(count, dtype=torch.bool) if own else torch.arange(count) % 2 > 0
    asked = given if own else ~given
    sums = torch.zeros(kinds).double().index_add_(0, category[given], y[given])
    number = torch.bincount(category[given], minlength=kinds)
    means = (sums + drawn_to_all * y.mean()) / (number + drawn_to_all).clamp_min(1)
    assert bool(list(find_own_label(means[category][asked, None], y[asked]))) == own


def test_pairs_that_were_matched_are_no_encoding() -> None:
    pair = torch.arange(400).repeat_interleave(2).double()
    y = (torch.arange(800) % 2).double()
    assert not list(find_own_label(pair[:, None], y))


@pytest.mark.parametrize("epochs", [1, 2])
def test_an_encoding_is_named_by_the_check(epochs: int) -> None:
    x, y = (t.float() for t in encoded("own rows", count=3000, kinds=700))
    model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    batches = epochs * list(zip(x.split(64), y.split(64), strict=True))
    found = ravine.check(model, F.binary_cross_entropy_with_logits, batches, learn=False)
    assert [(f.code, f.evidence["column"]) for f in found] == [("label-in-input", 1.0)]


@pytest.mark.parametrize("side", [8, 48])
def test_a_gradient_that_an_average_spreads_over_places_has_not_vanished(side: int) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU()]
    ends = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1)]
    batches = [(torch.randn(16, 1, side, side), torch.randn(16, 1)) for _ in range(2)]
    found = ravine.check(nn.Sequential(*layers, *ends), F.mse_loss, batches, learn=False)

    assert "vanishing-at-start" not in found.codes
