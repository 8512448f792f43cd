"""Terms of wrong sign, pairs that are driven the wrong way, tasks that drown: beside right ones."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.core.nested import map_tensors


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def codes(model: nn.Module, found: Any, loss: Any) -> tuple[str, ...]:
    return ravine.check(model, loss, found, learn=False).codes


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(10, 8), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.into(torch.tanh(x)).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.out(torch.tanh(z)), mean, log_variance


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_divergence_that_is_subtracted_has_the_wrong_sign(sign: float) -> None:
    def loss(out: Any, x: Tensor) -> Tensor:
        back, mean, log = out
        apart = 0.5 * (mean.square() + log.exp() - 1 - log).sum(1).mean()
        return F.mse_loss(back, x) + sign * apart

    pairs = [(x, x) for x in torch.randn(4, 32, 10).unbind()]

    assert ("loss-of-wrong-sign" in codes(Vae(), pairs, loss)) == (sign < 0)


def test_a_loss_that_falls_in_proportion_is_a_critics() -> None:
    pairs = [(torch.randn(32, 10), 2.0 * torch.randint(0, 2, (32,)) - 1) for _ in range(4)]
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))

    assert codes(model, pairs, lambda out, y: -(out[:, 0] * y).mean()) == ()


class Both(nn.Module):
    """Embeds two or three inputs alike; returns the embeddings, or the distance of two."""

    def __init__(self, *, distance: bool = False) -> None:
        super().__init__()
        self.body, self.distance = (
            nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 8)),
            distance,
        )

    def forward(self, *inputs: Tensor) -> Any:
        out = tuple(self.body(x) for x in inputs)
        return (out[0] - out[1]).norm(dim=1) if self.distance else out


def pairs(turned: bool) -> list[Any]:
    found = []
    for _ in range(4):
        kinds = 2 * torch.randn(64, 12)
        is_same = torch.rand(64) < 0.5
        other = torch.where(is_same[:, None], kinds, 2 * torch.randn(64, 12))
        y = (is_same != turned).float()
        found.append(((kinds + 0.5 * torch.randn(64, 12), other + 0.5 * torch.randn(64, 12)), y))
    return found


def contrastive(distance: Tensor, same: Tensor) -> Tensor:
    return (same * distance.square() + (1 - same) * F.relu(2 - distance).square()).mean()


def by_cosine(out: Any, same: Tensor) -> Tensor:
    return F.cosine_embedding_loss(*out, 2 * same - 1, margin=0.2)


@pytest.mark.parametrize("turned", [False, True])
def test_pairs_whose_labels_mean_the_opposite(turned: bool) -> None:
    expected = ("loss-of-wrong-sign",) if turned else ()

    assert codes(Both(distance=True), pairs(turned), contrastive) == expected
    assert codes(Both(), pairs(turned), by_cosine) == expected


def test_a_head_that_learns_what_a_distance_means_is_free_to() -> None:
    class Compared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both, self.head = Both(), nn.Linear(8, 1)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            one, other = self.both(a, b)
            out: Tensor = self.head((one - other).abs())[:, 0]
            return out

    for turned in (False, True):
        found = codes(Compared(), pairs(turned), F.binary_cross_entropy_with_logits)
        assert "loss-of-wrong-sign" not in found


@pytest.mark.parametrize("turned", [False, True])
def test_triplets_whose_partners_are_exchanged(turned: bool) -> None:
    def loss(out: Any, _: Tensor) -> Tensor:
        anchor, near, far = out
        return F.triplet_margin_loss(anchor, *((far, near) if turned else (near, far)), margin=3.0)

    found = []
    for _ in range(4):
        anchor = torch.randn(64, 12)
        near, far = anchor + 0.3 * torch.randn(64, 12), torch.randn(64, 12)
        found.append((anchor, near, far, torch.zeros(64)))

    assert codes(Both(), found, loss) == (("loss-of-wrong-sign",) if turned else ())


def test_labels_of_0_and_1_are_not_heard_where_1_and_minus_1_are_expected() -> None:
    def loss(out: Any, y: Tensor) -> Tensor:
        return F.cosine_embedding_loss(*out, y)

    right = [(x, 2 * y - 1) for x, y in pairs(turned=False)]

    assert codes(Both(), pairs(turned=False), loss) == ("loss-ignores-examples",)
    assert codes(Both(), right, loss) == ()


class Tasks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.one, self.two = nn.Linear(10, 16), nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(self.body(x))
        return self.one(h), self.two(h)[:, 0]


@pytest.mark.parametrize(("factor", "drowned"), [(1.0, False), (0.1, False), (1e5, True)])
def test_a_task_that_hardly_moves_the_shared_weights(factor: float, drowned: bool) -> None:
    def loss(out: Any, y: Any) -> Tensor:
        return F.cross_entropy(out[0], y[0]) + factor * F.mse_loss(out[1], y[1])

    found = [(torch.randn(32, 10), (torch.randint(0, 3, (32,)), torch.randn(32))) for _ in range(4)]

    assert codes(Tasks(), found, loss) == (("task-drowned",) if drowned else ())


def test_a_packed_sequence_passes_through_nested_values() -> None:
    packed = nn.utils.rnn.pack_sequence([torch.ones(3, 2), torch.ones(1, 2)])

    doubled = map_tensors(packed, lambda t: t * 2 if t.is_floating_point() else t)

    assert isinstance(doubled, nn.utils.rnn.PackedSequence)
    assert torch.equal(doubled.data, packed.data * 2)
