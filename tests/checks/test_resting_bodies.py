"""Bodies that rest: in evaluation mode, under no_grad, or beside the network."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.findings.finding import Findings

Batch = tuple[Tensor, Tensor]
CENTRES = torch.randn(5, 20, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def batches() -> list[Batch]:
    return [(CENTRES[y] + 0.5 * torch.randn(64, 20), y) for y in torch.randint(0, 5, (16, 64))]


def body() -> nn.Sequential:
    """Returns two layers with dropout between them whose weights are no longer as torch draws."""
    made = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 32))
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn_like(p) / 6)
    return made


class OnBody(nn.Module):
    """A head on a body: a part of the network, or kept from it in a list."""

    def __init__(self, *, registers: bool) -> None:
        super().__init__()
        made = body()
        self.body, self.bodies = (made if registers else nn.Identity()), [made]
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.bodies[0](x)
        return self.head(features.relu())


def checked(model: OnBody, *, rests: bool = True, lr: float = 0.1) -> Findings:
    optimizer = torch.optim.SGD(model.head.parameters(), lr=lr, momentum=0.9)

    def step(batch: Batch) -> None:
        model.train()
        if rests:
            model.bodies[0].eval()
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    return ravine.check(model, F.cross_entropy, batches(), optimizer, step)


def test_a_body_beside_the_network_is_put_to_rest_by_the_step() -> None:
    model = OnBody(registers=False)
    model.bodies[0].train()

    assert "noisy-evaluation" not in checked(model).codes


def test_a_body_beside_the_network_that_never_rests_is_noise() -> None:
    model = OnBody(registers=False)
    model.bodies[0].train()

    assert "noisy-evaluation" in checked(model, rests=False).codes


def test_a_trained_body_without_gradient_or_optimizer_rests_on_purpose() -> None:
    found = checked(OnBody(registers=True)).codes

    assert "no-gradient" not in found
    assert "not-in-optimizer" not in found


def test_a_body_as_torch_drew_it_does_not_rest_on_purpose() -> None:
    model = OnBody(registers=True)
    for layer in model.body.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()

    assert {"no-gradient", "not-in-optimizer"} & set(checked(model).codes)


def test_the_rate_is_tried_in_the_modes_of_the_step() -> None:
    model = OnBody(registers=True)
    model.body.requires_grad_(False)

    assert "rate-too-high" not in checked(model, lr=0.2).codes
