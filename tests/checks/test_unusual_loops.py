"""Healthy loops that look unusual, and steps whose fault shows on a second batch alone."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.checks.context import CheckContext
from ravine.checks.learning_rate import check_rate
from ravine.optim.lr_range_test import RangeTest

Batch = tuple[Tensor, Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def batches(count: int = 8, size: int = 64) -> list[Batch]:
    centres = torch.randn(5, 20)
    labels = torch.randint(0, 5, (count, size))
    return [(centres[y] + 0.5 * torch.randn(size, 20), y) for y in labels]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))


def stepped(model: nn.Module, batch: Batch, *optimizers: torch.optim.Optimizer) -> Tensor:
    for one in optimizers:
        one.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    for one in optimizers:
        one.step()
    return loss.detach()


def test_layers_of_a_second_optimizer_are_not_missing_and_it_is_put_back() -> None:
    model = network()
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)
    second = torch.optim.Adam(model[2].parameters(), lr=0.01)
    stepped(model, batches()[0], first, second)
    kept = [slots["exp_avg"].clone() for slots in second.state.values()]

    found = ravine.check(
        model, F.cross_entropy, batches(), first,
        step=lambda batch: stepped(model, batch, first, second), learn=False,
    )  # fmt: skip

    assert found.codes == ()
    assert all(
        torch.equal(old, slots["exp_avg"])
        for old, slots in zip(kept, second.state.values(), strict=True)
    )


def test_a_layer_that_no_optimizer_of_the_step_holds_is_missing() -> None:
    model = network()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)

    found = ravine.check(
        model, F.cross_entropy, batches(), optimizer,
        step=lambda batch: stepped(model, batch, optimizer), learn=False,
    )  # fmt: skip

    assert [(one.code, one.severity) for one in found] == [("not-in-optimizer", "critical")]


def test_labels_of_the_batch_before_are_named() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    held: list[Tensor] = []

    def step(batch: Batch) -> None:
        held.append(batch[1])
        stepped(model, (batch[0], held[max(0, len(held) - 2)]), optimizer)

    found = ravine.check(model, F.cross_entropy, batches(), optimizer, step=step, learn=False)

    assert found.codes == ("step-trains-something-else",)


def test_sparse_gradients_are_checked_to_the_end() -> None:
    model = nn.Sequential(nn.EmbeddingBag(40, 16, sparse=True), nn.Linear(16, 5))
    words = [torch.randint(0, 8, (64, 6)) for _ in range(8)]
    pairs = [(w + 8 * y[:, None], y) for w, (_, y) in zip(words, batches(), strict=True)]

    found = ravine.check(
        model, F.cross_entropy, pairs, torch.optim.SGD(model.parameters(), lr=0.5),
        labels_probe=True,
    )  # fmt: skip

    assert found.codes == ()


def test_a_loss_of_quantiles_is_no_broadcast() -> None:
    levels = torch.tensor([0.1, 0.5, 0.9])

    def pinball(out: Tensor, y: Tensor) -> Tensor:
        above = y[:, None] - out
        return torch.maximum(levels * above, (levels - 1) * above).mean()

    model = nn.Linear(20, 3)
    pairs = [(x, 10 + x[:, 0] - x[:, 1]) for x, _ in batches()]

    assert ravine.check(model, pinball, pairs, learn=False).codes == ()


def test_one_cycle_is_judged_by_its_peak() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=100, div_factor=1e6)

    assert ravine.check(model, F.cross_entropy, batches(), optimizer).codes == ()


def test_an_optimizer_that_finds_its_own_steps_has_no_rate_to_test() -> None:
    model = network()
    optimizer = torch.optim.Rprop(model.parameters(), lr=1e-6)

    assert ravine.check(model, F.cross_entropy, batches(), optimizer).codes == ()


@pytest.mark.parametrize(("lr", "codes"), [(0.3, []), (1.0, ["rate-too-high"])])
def test_a_rate_at_which_all_is_lost_is_too_high(lr: float, codes: list[str]) -> None:
    model = network()
    context = CheckContext(
        model=model, loss=F.cross_entropy, samples=(), step=None,
        optimizer=torch.optim.SGD(model.parameters(), lr=lr),
    )  # fmt: skip
    losses = (*[1.6] * 10, 1.3, 0.8, 0.9, 1.2, 1.65, 1.7, 2.0)
    rising = [10.0 ** (n / 4 - 3) for n in range(-2, 9)]
    rates = (*rising, 0.1, 0.2, 0.3, 0.9, 3.0, 10.0)

    found = check_rate(context, RangeTest(rates=rates, losses=losses, suggestion=0.01))

    assert [one.code for one in found] == codes


def test_a_fall_within_the_noise_of_small_batches_suggests_no_rate() -> None:
    model = network()
    context = CheckContext(
        model=model, loss=F.cross_entropy, samples=(), step=None,
        optimizer=torch.optim.SGD(model.parameters(), lr=3.0),
    )  # fmt: skip
    # mobilenetv3_small with fresh weights on batches of 16, whose logits begin large
    noisy = (
        4.389, 3.762, 3.252, 3.125, 3.184, 3.122, 3.078, 3.369, 3.56, 3.591, 3.446, 3.503, 3.451,
        3.251, 3.259,
    )  # fmt: skip
    rates = tuple(10.0 ** (n / 5 - 5) for n in range(15))
    falling = (*noisy[:10], 3.1, 2.6, 2.0, 1.4, 1.2)

    def codes(losses: tuple[float, ...]) -> list[str]:
        test = RangeTest(rates=rates, losses=losses, suggestion=0.0012)
        return [one.code for one in check_rate(context, test)]

    assert codes(noisy) == []
    assert codes(falling) == ["rate-too-high"]


class Scaled(nn.Module):
    """A branch that begins at a thousandth of a thousandth, as ConvNeXt's do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(20, 40), nn.Linear(40, 20)
        self.scale = nn.Parameter(torch.full((20,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.last(F.gelu(self.first(x)))


def test_branches_that_begin_small_are_no_explosion() -> None:
    model = nn.Sequential(nn.Linear(20, 20), *(Scaled() for _ in range(4)), nn.Linear(20, 5))

    found = ravine.check(model, F.cross_entropy, batches(), learn=False)

    assert "exploding-at-start" not in found.codes


@pytest.mark.parametrize(
    ("made", "codes"),
    [
        (lambda p: torch.optim.Muon(p, lr=0.01, weight_decay=0.1), ()),
        (lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1), ()),
        (lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1), ("decay-too-strong",)),
        (lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1), ("decay-too-strong",)),
    ],
)
def test_decay_beside_the_update_is_judged_otherwise_than_decay_in_the_gradient(
    made: Any, codes: tuple[str, ...]
) -> None:
    model = nn.Sequential(nn.Linear(20, 32, bias=False), nn.ReLU(), nn.Linear(32, 5, bias=False))

    found = ravine.check(model, F.cross_entropy, batches(), made(model.parameters()), learn=False)

    assert found.codes == codes


def test_branches_that_begin_as_zero_leave_the_stream_as_it_was() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(32, 32), nn.Linear(32, 32)
            nn.init.normal_(self.b.weight, std=1e-6)
            nn.init.zeros_(self.b.bias)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.b(F.gelu(self.a(x)))

    model = nn.Sequential(nn.Linear(20, 32), *(Branch() for _ in range(4)), nn.Linear(32, 5))

    assert ravine.check(model, F.cross_entropy, batches(), learn=False).codes == ()


def test_a_step_that_tries_weights_changes_nothing_from_outside() -> None:
    model, pairs = network(), batches(16)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    with ravine.Monitor(model, optimizer) as monitor:
        for x, y in pairs:

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                return loss

            monitor.record(loss=optimizer.step(closure))

    assert "weights-changed-outside" not in monitor.findings.codes


def test_norms_that_the_step_keeps_in_evaluation_mode_are_compared_in_it() -> None:
    body = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU())
    model = nn.Sequential(body, nn.Linear(32, 5))
    for x, _ in 5 * batches():
        body(3 * x + 4)  # as other data left the running statistics
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(batch: Batch) -> None:
        model.train()
        body.eval()
        stepped(model, batch, optimizer)

    found = ravine.check(model, F.cross_entropy, batches(), optimizer, step=step, learn=False)

    assert "step-trains-something-else" not in found.codes


class Clamped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x, torch.zeros(()))


def test_logits_that_are_cut_off_are_named_whatever_cuts_them() -> None:
    model = nn.Sequential(network(), Clamped())

    found = ravine.check(model, F.cross_entropy, batches(), learn=False)

    assert found.codes == ("activation-on-logits",)


def test_a_batch_standardised_in_the_forward_pass_mixes_its_examples() -> None:
    class Standardised(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x - x.mean(0)) / (x.std(0) + 1e-3)

    model = nn.Sequential(Standardised(), network())

    assert ravine.check(model, F.cross_entropy, batches(), learn=False).codes == ("examples-mixed",)


def test_a_constant_beside_the_loss_hides_nothing_of_the_targets() -> None:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y) + 100

    assert ravine.check(network(), loss, batches(), learn=False).codes == ()


def test_batches_of_two_are_put_together_for_the_range_test() -> None:
    pairs = [(x[n : n + 2], y[n : n + 2]) for x, y in batches() for n in (0, 2)]
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    assert "rate-too-high" not in ravine.check(model, F.cross_entropy, pairs, optimizer).codes


def test_a_loss_that_falls_below_zero_has_not_diverged() -> None:
    model = nn.Linear(20, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

    def likelihood(out: Tensor, y: Tensor) -> Tensor:
        return F.gaussian_nll_loss(out[:, 0], y, out[:, 1].exp())

    pairs = [(x, 0.01 * (x[:, 0] - x[:, 1])) for x, _ in 20 * batches()]
    found = ravine.check(model, likelihood, pairs, optimizer)
    with ravine.Monitor(model, optimizer) as monitor:
        for x, y in pairs:
            optimizer.zero_grad()
            loss = likelihood(model(x), y)
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)

    assert float(loss.detach()) < -1
    assert (found.codes, monitor.findings.codes) == ((), ())
