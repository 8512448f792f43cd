"""Losses of several terms, masks of one class, layers that a batch passes by; healthy ones."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def codes(model: nn.Module, batches: Any, loss: Any, **given: Any) -> Any:
    return ravine.check(model, loss, batches, **{"learn": False} | given).codes


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.kind, self.value = nn.Linear(16, 4), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.kind(h), self.value(h)


@pytest.mark.filterwarnings("ignore:Using a target size")  # which is what is looked for
@pytest.mark.parametrize("broadcast", [True, False])
def test_a_term_that_broadcasts_its_targets_is_named(broadcast: bool) -> None:
    def loss(out: Any, y: Any) -> Tensor:
        value = out[1] if broadcast else out[1].squeeze(1)
        return F.cross_entropy(out[0], y[0]) + F.smooth_l1_loss(value, y[1])

    batches = [(torch.randn(32, 8), (torch.randint(4, (32,)), torch.randn(32))) for _ in range(4)]
    found = codes(TwoHeads(), batches, loss)
    assert ("targets-broadcast" in found) == broadcast


@pytest.mark.parametrize("divided", [True, False])
def test_masks_of_one_class_are_named(divided: bool) -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    masks = [torch.randint(4, (8, 10, 10)) for _ in range(4)]
    batches = [
        (torch.randn(8, 1, 10, 10), (mask / 255).long() if divided else mask) for mask in masks
    ]
    found = codes(model, batches, F.cross_entropy)
    assert ("targets-uninformative" in found) == divided


def test_a_range_is_seen_through_what_only_reshapes() -> None:
    def network(*end: nn.Module) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 36), *end,
            nn.Unflatten(1, (1, 6, 6)),
        )  # fmt: skip

    images = [1.5 * torch.randn(32, 1, 6, 6) for _ in range(4)]
    batches = [(x, x) for x in images]
    assert "activation-on-logits" in codes(network(nn.Sigmoid()), batches, F.mse_loss)
    assert "activation-on-logits" not in codes(network(), batches, F.mse_loss)


class Experts(nn.Module):
    """Each example goes to the expert that its first number names; some have none in a batch."""

    def __init__(self, *, used: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(8, 3) for _ in range(4))
        self.used = used

    def forward(self, x: Tensor) -> Tensor:
        to = (4 * x[:, 0].sigmoid()).long().clamp(0, self.used - 1)
        out = x.new_zeros(len(x), 3)
        for n, expert in enumerate(self.experts):
            if bool((to == n).any()):
                out = out.index_put(((to == n).nonzero()[:, 0],), expert(x[to == n]))
        return out


@pytest.mark.parametrize("used", [4, 2])
def test_an_expert_without_examples_in_one_batch_is_no_fault(used: int) -> None:
    batches = []
    for n in range(8):
        x = torch.randn(32, 8)
        x[:, 0] = x[:, 0].abs() * (1 if n % 2 else -1)  # one half of the experts, in turn
        batches.append((x, torch.randint(3, (32,))))
    found = codes(Experts(used=used), batches, F.cross_entropy)
    assert ("no-gradient" in found) == (used < 4)


@pytest.mark.parametrize("used", [4, 2])
def test_an_expert_that_no_example_is_sent_to_yet_is_no_fault(used: int) -> None:
    batches = []
    for _ in range(4):
        x = torch.randn(32, 8)
        x[:, 0] = 0.1 * x[:, 0].abs()  # of four experts the third alone
        batches.append((x, torch.randint(3, (32,))))
    found = codes(Experts(used=used), batches, F.cross_entropy)
    assert ("no-gradient" in found) == (used < 4)


def test_inputs_that_a_network_differentiates_by_are_no_weights() -> None:
    class Slope(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                slope: Tensor = torch.autograd.grad((x * self.body(x)).sum(), x, create_graph=True)[
                    0
                ]
                return slope

    batches = []
    for _ in range(4):
        x = torch.rand(32, 1)
        batches.append((x, torch.cos(3 * x)))
    assert "parameters-not-registered" not in codes(Slope(), batches, F.mse_loss)

    loose = torch.randn(1, requires_grad=True)
    found = codes(nn.Linear(1, 1), batches, lambda out, y: F.mse_loss(out + loose, y))
    assert "parameters-not-registered" in found


class Linked(nn.Module):
    """A graph: all of its nodes are one batch."""

    def __init__(self, links: Tensor) -> None:
        super().__init__()
        self.register_buffer("links", links)
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.links @ torch.relu(self.first(x)))
        return out


@pytest.mark.parametrize("nodes", [40, 200])
def test_a_network_that_takes_no_part_of_a_batch_is_given_all_of_it(nodes: int) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(nodes, 8), torch.randint(0, 3, (nodes,))
    model = Linked(torch.softmax(torch.randn(nodes, nodes), 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    found = ravine.check(model, F.cross_entropy, [(x, y)] * 8, optimizer, labels_probe=True)

    assert [one for one in found if one.severity != "note"] == []
    with pytest.raises(ravine.SettingError, match="the model raises on a batch"):
        ravine.check(model, F.cross_entropy, [(x[1:], y[1:])], optimizer)
