"""The findings of a monitor, the steps of its snapshots, and its memory."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.core.snapshot import NotFinite, Snapshot
from ravine.findings.layer_detectors import find_in_snapshots
from ravine.monitor.host_copies import HostCopies
from ravine.monitor.metric_buffer import MetricBuffer
from ravine.monitor.overhead import OverheadBudget


class Breaks(nn.Module):
    """Lets values pass, or makes them infinite, from a call on."""

    def __init__(self, at: int, *, forward: bool) -> None:
        super().__init__()
        self.at, self.on_the_way_there, self.calls = at, forward, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls < self.at:
            return x
        # √ has an infinite slope at 0; the logarithm of 0 is infinite itself.
        return x + (x * 0).log() if self.on_the_way_there else x + (x * 0).sqrt()


@pytest.mark.parametrize("wrap", [lambda o, m: o, lambda o, m: ravine.optim.Transaction(o, m)])
@pytest.mark.parametrize("forward", [True, False])
def test_the_first_value_that_is_not_finite_is_named(
    wrap: Callable[..., Any], *, forward: bool
) -> None:
    model = nn.Sequential(
        nn.Linear(4, 6), nn.Linear(6, 6), Breaks(7, forward=forward), nn.Linear(6, 3)
    )
    optimizer = ravine.optim.Momentum(model.parameters(), lr=0.01)
    watched = wrap(optimizer, model)
    with ravine.Monitor(model, watched, every=100) as monitor:
        for _ in range(10):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
            loss.backward()
            watched.step(*([] if watched is optimizer else [loss]))
    # The snapshot at step 1 has called the network a second time.
    way = "forward" if forward else "backward"
    assert monitor.not_finite == NotFinite(step=6, layer="2" if forward else "1", direction=way)
    found = next(one for one in monitor.findings if one.code == "not-finite")
    assert found.step == 6
    assert found.layer == ("2" if forward else "1")


def classify(*, clear: bool, lr: float = 0.05, steps: int = 24) -> ravine.Monitor:
    """Trains a small network on numbers that can be told apart."""
    torch.manual_seed(4)
    centres = 2 * torch.randn(4, 10)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with ravine.Monitor(model, optimizer, every=1) as monitor:
        for _ in range(steps):
            labels = torch.randint(4, (32,))
            if clear:
                optimizer.zero_grad()
            loss = F.cross_entropy(model(centres[labels] + torch.randn(32, 10)), labels)
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
    return monitor


def test_a_healthy_loop_has_no_finding() -> None:
    assert classify(clear=True).findings.codes == ()


def test_gradients_that_nobody_clears_are_found_in_the_loop() -> None:
    found = classify(clear=False).findings
    assert found.codes[0] == "gradients-not-cleared"
    assert found[0].severity == "critical"


def test_accumulated_gradients_are_no_fault() -> None:
    model = nn.Linear(5, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with ravine.Monitor(model, optimizer, every=1) as monitor:
        for step in range(40):
            if step % 4 == 0:
                optimizer.zero_grad(set_to_none=False)
            F.cross_entropy(model(torch.randn(8, 5)), torch.randint(2, (8,))).backward()
            if step % 4 == 3:
                optimizer.step()
    assert len(monitor.snapshots) == 10
    assert "gradients-not-cleared" not in monitor.findings.codes


def test_units_that_die_on_the_way_are_found_with_layer_and_step() -> None:
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with ravine.Monitor(model, optimizer, every=1) as monitor:
        for step in range(40):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(32, 10)), torch.randint(4, (32,))).backward()
            optimizer.step()
            if step == 14:
                with torch.no_grad():
                    model[0].bias[:24] = -100.0
    found = next(one for one in monitor.findings if one.code == "units-died")
    assert found.layer == "1"
    assert 16 <= (found.step or 0) <= 16 + 8
    assert found.evidence["share"] == 0.75


def test_a_unit_that_rests_now_and_then_is_not_dead() -> None:
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 4))
    with torch.no_grad():
        model[0].bias.fill_(-0.75)  # active on one image in ten
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    with ravine.Monitor(model, optimizer, every=1) as monitor:
        for _ in range(16):
            optimizer.zero_grad()
            model(torch.randn(8, 10)).sum().backward()
            optimizer.step()
    first, *_, last = monitor.snapshots
    assert (first.layers["1"].dead or 0) > 0.2
    assert (last.layers["1"].dead or 0) < 0.1
    assert "units-died" not in {one.code for one in find_in_snapshots(monitor.snapshots)}


def test_held_out_losses_of_one_step_are_averaged_apart_from_the_training_loss() -> None:
    buffer, copies = MetricBuffer(), HostCopies()
    for step, loss in ((1, 3.0), (2, 2.0), (3, 1.0)):
        buffer.add(step, torch.tensor(loss), split="train", accuracy=None, lr=0.1)
    for loss, accuracy in ((4.0, 0.5), (2.0, 0.7), (3.0, 0.9)):
        buffer.add(3, loss, split="validation", accuracy=accuracy, lr=0.1)
    buffer.send(copies)
    copies.collect()
    *_, row = buffer.rows
    assert row["loss"] == pytest.approx(3.0)
    assert row["accuracy"] == pytest.approx(0.7)
    assert row["train_loss"] == pytest.approx(2.0)


def test_memory_stays_flat_and_keeps_what_was_not_finite() -> None:
    buffer, copies = MetricBuffer(), HostCopies()
    for step in range(20_000):
        loss = float("nan") if step == 1234 else 1.0
        buffer.add(step, loss, split="train", accuracy=None, lr=0.1)
        if buffer.is_full:
            buffer.send(copies)
            copies.collect()
        buffer.add_snapshot(Snapshot(step=step))
    assert len(buffer.rows) <= 4096
    assert len(buffer.snapshots) <= 512
    assert buffer.snapshots[-1].step == 19_999
    assert any(row["loss"] != row["loss"] for row in buffer.rows)


@pytest.mark.parametrize(("step", "cost"), [(0.2, 0.03), (0.002, 0.05), (1.0, 0.001)])
def test_snapshots_cost_no_more_than_their_share(
    step: float, cost: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    budget = OverheadBudget(0.02, None, torch.device("cpu"))
    snapshots = 0
    for number in range(1, 5001):
        now[0] += step
        if budget.is_due(number):
            with budget.timed(snapshot=True):
                now[0] += cost
            budget.snapshot_taken(number)
            snapshots += 1
        budget.step_done()
    assert budget.overhead <= 0.0201
    # As many as the share covers; no closer than a 200th of the steps so far.
    assert snapshots >= min(0.6 * 0.02 * 5000 * step / cost, 400) - 1


def test_a_pause_between_steps_does_not_pay_for_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    budget = OverheadBudget(0.02, None, torch.device("cpu"))
    for number in range(50):
        now[0] += 0.1 if number % 10 else 60.0
        budget.step_done()
    assert budget.trained < 50 * 0.1 * 1.5


@pytest.mark.parametrize(("smoothing", "codes"), [(0.2, ()), (0.0, ("underfitting",))])
def test_a_loss_at_the_floor_of_smoothed_labels_is_no_underfitting(
    smoothing: float, codes: tuple[str, ...]
) -> None:
    """Label smoothing 0.2 leaves 0.38 ln K; the same loss on hard labels is underfitting."""
    torch.manual_seed(0)
    centres = 3 * torch.randn(10, 20)
    model = nn.Linear(20, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)

    def loss_of(count: int) -> Tensor:
        labels = torch.arange(count) % 10
        x = centres[labels] + torch.randn(count, 20)
        # Without smoothing, 40 % of the labels are drawn anew: the loss is as high, unsmoothed.
        drawn = torch.randint(10, (count,))
        given = labels if smoothing else torch.where(torch.rand(count) < 0.4, drawn, labels)
        return F.cross_entropy(model(x), given, label_smoothing=smoothing)

    with ravine.Monitor(model, optimizer, every=5) as monitor:
        for step in range(300):
            optimizer.zero_grad()
            loss = loss_of(64)
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
            if step % 20 == 19:
                with torch.no_grad():
                    monitor.record(loss=loss_of(256), split="validation")

    assert monitor.findings.codes == codes
