"""Weights that a step moves beside the watched optimizer: copies, teachers, a critic, clipping."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Batch = tuple[Tensor, Tensor]
CENTRES = torch.randn(10, 20, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def batches(count: int = 16, size: int = 32) -> list[Batch]:
    drawn = torch.randint(0, 10, (count, size))
    return [(CENTRES[y] + 0.5 * torch.randn(size, 20), y) for y in drawn]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))


def codes(model: nn.Module, loss: Any, optimizer: Any, step: Callable[[Batch], Any]) -> Any:
    return ravine.check(model, loss, batches(), optimizer, step, learn=False).codes


def of_half(out: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(out.float(), labels)


def with_masters(*, writes_back: bool = True) -> tuple[Any, ...]:
    """Returns a network in bfloat16, its float32 copies, their optimizer and a step."""
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 10))
    full = [p.detach().clone().requires_grad_() for p in model.parameters()]
    model.bfloat16()
    optimizer = torch.optim.Adam(full, lr=1e-2)

    def step(batch: Batch) -> Tensor:
        model.zero_grad()
        loss = of_half(model(batch[0].bfloat16()), batch[1])
        loss.backward()
        for mine, theirs in zip(full, model.parameters(), strict=True):
            mine.grad = None if theirs.grad is None else theirs.grad.float()
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(full, model.parameters(), strict=True):
                theirs.copy_(mine) if writes_back else None
        return loss.detach()

    return model, full, optimizer, step


@pytest.mark.parametrize("writes_back", [True, False])
def test_copies_that_the_optimizer_holds_are_no_other_model_where_they_are_written_back(
    writes_back: bool,
) -> None:
    model, full, optimizer, step = with_masters(writes_back=writes_back)
    given = [(x.bfloat16(), y) for x, y in batches()]
    before = [p.detach().clone() for p in full]

    found = ravine.check(model, of_half, given, optimizer, step, learn=False)

    assert ("not-in-optimizer" in found.codes) is not writes_back
    assert all(map(torch.equal, full, before))  # the optimizer's own weights are put back, too


@pytest.mark.parametrize("writes_back", [True, False])
def test_a_monitor_takes_copies_that_are_written_back_for_the_updates(writes_back: bool) -> None:
    model, _, optimizer, step = with_masters(writes_back=writes_back)
    with ravine.Monitor(model, optimizer) as monitor:
        for batch in batches(40):
            monitor.record(loss=step(batch))

    found = set(monitor.findings.codes) & {"not-in-optimizer", "weights-changed-outside"}
    assert found == (set() if writes_back else {"not-in-optimizer"})


@pytest.mark.parametrize("by_data", [False, True])
def test_a_monitor_sees_weights_that_are_stepped_without_an_optimizer(by_data: bool) -> None:
    model = network()
    unused = torch.optim.SGD(model.parameters(), lr=0.1)
    with ravine.Monitor(model, unused) as monitor:
        for x, y in batches(40):
            model.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            with torch.no_grad():
                for p in model.parameters():
                    (p.data if by_data else p).sub_(0.1 * p.grad)
            monitor.record(loss=loss.detach())

    assert monitor.findings.codes == ()


class Followed(nn.Module):
    """An encoder, a predictor, and a slow copy of the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.predictor = network(), nn.Linear(10, 10)
        self.slow = copy.deepcopy(self.encoder).requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.predictor(self.encoder(x)), self.slow(x + 0.1 * torch.randn_like(x))

    @torch.no_grad()
    def follow(self) -> None:
        for slow, fast in zip(self.slow.parameters(), self.encoder.parameters(), strict=True):
            slow.lerp_(fast, 0.03)


@pytest.mark.parametrize("when", ["never", "before", "after"])
def test_a_slow_copy_that_the_step_moves_is_not_frozen(when: str) -> None:
    model = Followed()
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=1e-2)

    def loss(out: tuple[Tensor, Tensor], _targets: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(*out).mean()

    def step(batch: Batch) -> Tensor:
        model.train()
        if when == "before":
            model.follow()
        optimizer.zero_grad()
        value = loss(model(batch[0]), batch[1])
        value.backward()
        optimizer.step()
        if when == "after":
            model.follow()
        return value.detach()

    found = codes(model, loss, optimizer, step)

    assert ("frozen-at-random" in found) is (when == "never")
    assert ("frozen-statistics-drift" in found) is (when == "never")


@pytest.mark.parametrize("trained", ["by an optimizer", "by hand", "never"])
def test_a_critic_beside_the_network_is_no_forgotten_layer(trained: str) -> None:
    model, critic = network(), nn.Linear(10, 1)
    makes = torch.optim.Adam(model.parameters(), lr=1e-2)
    judges = torch.optim.Adam(critic.parameters(), lr=1e-2)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y) + 0.1 * F.softplus(-critic(out)).mean()

    def step(batch: Batch) -> Tensor:
        out = model(batch[0])
        critic.zero_grad()
        F.softplus(critic(out.detach())).mean().backward()
        if trained == "by an optimizer":
            judges.step()
        if trained == "by hand":
            with torch.no_grad():
                for p in critic.parameters():
                    p.sub_(0.1 * p.grad)
        value = loss(out, batch[1])
        makes.zero_grad()
        value.backward()
        makes.step()
        return value.detach()

    before = [p.detach().clone() for p in critic.parameters()]
    found = codes(model, loss, makes, step)

    assert ("parameters-not-registered" in found) is (trained == "never")
    assert all(map(torch.equal, critic.parameters(), before))


@pytest.mark.parametrize("unscales", [False, True])
def test_a_limit_that_is_met_exactly_before_unscaling_is_found_at_a_high_rate(
    unscales: bool,
) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        scaler.scale(loss).backward()
        if unscales:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    found = codes(model, F.cross_entropy, optimizer, step)

    assert ("updates-too-small" in found) is not unscales
