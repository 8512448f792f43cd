"""What a monitor sees of the loop: optimizers, modes, changed weights, and how validation runs."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Batch = tuple[Tensor, Tensor]
STEPS = 60


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def network(*, norm: bool = False, dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(20, 32), *([nn.BatchNorm1d(32)] if norm else []), nn.ReLU(),
        *([nn.Dropout(dropout)] if dropout else []), nn.Linear(32, 5),
    )  # fmt: skip


def draw(count: int, centres: Tensor) -> Batch:
    y = torch.randint(0, 5, (count,))
    return 2 * centres[y] + 0.5 * torch.randn(count, 20), y


def watched(
    model: nn.Module,
    *,
    held: Callable[[Batch], Batch] = lambda batch: batch,
    before_validation: Callable[[nn.Module], Any] = lambda model: model.eval(),
    evaluated: Callable[[nn.Module], nn.Module] = lambda model: model,
    after_step: Callable[[nn.Module, int], None] = lambda _model, _step: None,
    train: Callable[[nn.Module, int], Any] = lambda model, _: model.train(),
    remake: bool = False,
) -> ravine.Monitor:
    """Trains on points around five centres, validates six times, and returns the monitor."""
    centres = torch.randn(5, 20)
    validation = held(draw(200, centres))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with ravine.Monitor(model, optimizer, every=20) as monitor:
        for step in range(STEPS):
            train(model, step)
            own = torch.optim.Adam(model.parameters(), lr=1e-2) if remake else optimizer
            x, y = draw(64, centres)
            own.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            own.step()
            after_step(model, step)
            monitor.record(loss=loss)
            if step % 10 == 9:
                before_validation(model)
                with torch.no_grad():
                    out = evaluated(model)(validation[0])
                right = float((out.argmax(1) == validation[1]).double().mean())
                value = F.cross_entropy(out, validation[1])
                monitor.record(loss=value, split="validation", accuracy=right)
    return monitor


def codes(monitor: ravine.Monitor) -> tuple[str, ...]:
    return tuple(one.code for one in monitor.findings)


def test_a_healthy_loop_has_no_finding() -> None:
    assert codes(watched(network(norm=True, dropout=0.2))) == ()


def test_an_optimizer_that_is_made_anew_is_seen() -> None:
    assert codes(watched(network(), remake=True)) == ("optimizer-remade",)


def test_evaluation_mode_after_the_first_validation_is_seen_with_its_step() -> None:
    found = watched(
        network(norm=True), train=lambda model, step: model.train() if step == 0 else None
    ).findings
    assert found[0].code == "eval-mode"
    assert found[0].step == 11


def test_training_mode_in_validation_is_seen_where_a_layer_has_a_mode() -> None:
    def leave(model: nn.Module) -> None:
        del model

    assert codes(watched(network(norm=True), before_validation=leave)) == (
        "evaluated-in-training-mode",
    )
    assert codes(watched(network(), before_validation=leave)) == ()


def test_validation_that_is_prepared_otherwise_is_seen_by_its_inputs() -> None:
    found = watched(network(), held=lambda batch: (100 * batch[0] + 300, batch[1]))
    assert codes(found) == ("validation-prepared-differently",)


@pytest.mark.parametrize("change", [torch.zeros_like, lambda y: (y + 2) % 5])
def test_validation_labels_of_another_order_are_told_from_overfitting(
    change: Callable[[Tensor], Tensor],
) -> None:
    found = watched(network(norm=True), held=lambda batch: (batch[0], change(batch[1])))
    assert codes(found)[:1] == ("validation-labels-unrelated",)


def test_statistics_that_do_not_follow_are_told_from_wrong_labels() -> None:
    model = network(norm=True)
    model[1].momentum = 0.0
    model[1].running_mean += 30.0
    assert codes(watched(model))[:1] == ("norm-statistics-disagree",)


def test_another_network_that_lags_behind_is_seen() -> None:
    model = network()
    first = copy.deepcopy(model).eval()
    assert codes(watched(model, evaluated=lambda _: first)) == ("averaged-weights-lag",)


def test_an_average_on_its_way_lags_too_though_it_is_better_than_chance() -> None:
    model = network()
    average = copy.deepcopy(model).eval()

    def follow(model: nn.Module, _step: int) -> None:
        with torch.no_grad():
            for mean, p in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(p, 0.004)

    found = watched(model, evaluated=lambda _: average, after_step=follow)
    last = found.findings[0].evidence["validation"]
    assert codes(found) == ("averaged-weights-lag",)
    assert last < 0.8 * math.log(5)


@pytest.mark.parametrize(("length", "named"), [(100_000, True), (40, False)])
def test_a_warm_up_that_outlasts_the_run_is_named(*, length: int, named: bool) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1.0, (k + 1) / length))
    centres = torch.randn(5, 20)
    with ravine.Monitor(model, optimizer, every=20) as monitor:
        for _ in range(STEPS):
            x, y = draw(64, centres)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            monitor.record(loss=loss)
    assert codes(monitor) == (("rate-too-low",) if named else ())


def test_weights_that_are_loaded_between_steps_are_seen() -> None:
    model = network()
    first = copy.deepcopy(model.state_dict())

    def load(model: nn.Module, step: int) -> None:
        if step % 20 == 15:
            model.load_state_dict(first)

    found = watched(model, after_step=load).findings
    assert found[0].code == "weights-changed-outside"
    assert found[0].step == 16


def test_weights_that_are_swapped_for_validation_and_put_back_are_no_finding() -> None:
    model = network()
    average = copy.deepcopy(model)

    def follow(model: nn.Module, _: int) -> None:
        with torch.no_grad():
            for mine, its in zip(average.parameters(), model.parameters(), strict=True):
                mine.lerp_(its, 0.2)

    kept: dict[str, Any] = {}

    def swap(model: nn.Module) -> None:
        kept.update(copy.deepcopy(model.state_dict()))
        model.load_state_dict(average.state_dict())

    def back(model: nn.Module, _: int) -> None:
        if kept:
            model.load_state_dict(kept)
            kept.clear()

    assert codes(watched(model, after_step=follow, before_validation=swap, train=back)) == ()


def test_dropout_that_stays_on_is_heard_in_evaluation_mode() -> None:
    class Drops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(F.dropout(x, 0.2))

    assert codes(watched(Drops())) == ("noisy-evaluation",)


class Probed(nn.Module):
    """A trained body, and a head that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


def test_statistics_that_the_probes_move_are_no_noise() -> None:
    torch.manual_seed(0)
    model = Probed()
    optimizer = torch.optim.Adam(model.head.parameters(), 1e-2)
    model.body.requires_grad_(False)
    with ravine.Monitor(model, optimizer) as monitor:
        for n in range(30):
            x, y = 3 + 2 * torch.randn(64, 20), torch.randint(0, 5, (64,))
            model.eval()
            with torch.no_grad():
                features = model.body(x)  # the network as a whole is called by validation alone
            optimizer.zero_grad()
            loss = F.cross_entropy(model.head(features), y)
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
            if n % 6 == 5:
                with torch.no_grad():
                    value = F.cross_entropy(model(x), y)
                monitor.record(loss=value, split="validation")

        assert "noisy-evaluation" not in monitor.findings.codes


def test_watching_the_loop_leaves_weights_buffers_and_chance_bitwise() -> None:
    def trained(*, monitored: bool) -> tuple[dict[str, Tensor], Tensor]:
        torch.manual_seed(3)
        model = network(norm=True, dropout=0.3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor = ravine.Monitor(model, optimizer, every=3) if monitored else None
        if monitor is not None:
            monitor.__enter__()
        for step in range(12):
            model.train()
            x, y = torch.randn(16, 20), torch.randint(0, 5, (16,))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            if monitor is not None:
                monitor.record(loss=loss)
            if step % 4 == 3:
                with torch.no_grad():
                    value = F.cross_entropy(model.eval()(x), y)
                if monitor is not None:
                    monitor.record(loss=value, split="validation")
                    assert monitor.findings is not None
        if monitor is not None:
            monitor.__exit__(None, None, None)
        return model.state_dict(), torch.get_rng_state()

    alone, watched_one = trained(monitored=False), trained(monitored=True)
    torch.testing.assert_close(watched_one[0], alone[0], rtol=0, atol=0)
    assert torch.equal(watched_one[1], alone[1])


@pytest.mark.parametrize("is_sorted", [True, False])
def test_a_validation_in_the_order_of_its_classes_is_no_other_preparation(is_sorted: bool) -> None:
    """Memorised, and validated class by class, in batches: the first of them shows one class."""
    centres = torch.randn(5, 20)
    x, y = draw(40, centres)
    held_x, held_y = draw(200, centres)
    held_y = held_y[torch.randperm(200)]  # worse than training, whatever the order
    order = held_x.sum(1).argsort() if is_sorted else torch.arange(200)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with ravine.Monitor(model, optimizer) as monitor:
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
            if step % 10 == 9:
                with torch.no_grad():
                    rows = [F.cross_entropy(model(held_x[p]), held_y[p]) for p in order.split(20)]
                monitor.record(loss=torch.stack(rows).mean(), split="validation")

    assert monitor.findings[0].code != "validation-prepared-differently"


def test_a_module_that_the_loop_never_calls_decides_nothing_about_validation() -> None:
    centres = torch.randn(5, 20)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with ravine.Monitor(nn.Sequential(*model), optimizer) as monitor:
        for step in range(STEPS):
            x, y = draw(64, centres)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
            if step % 10 == 9:
                with torch.no_grad():
                    other = F.cross_entropy(model(-x), y)
                monitor.record(loss=other, split="validation")

    assert monitor.findings.codes == ("validation-at-chance",)
    assert monitor.notes == ["the watched network was never called: pass the one the loop calls"]


@pytest.mark.parametrize("remade", [False, True])
def test_a_loop_that_gives_no_optimizer_is_watched_by_whichever_steps(remade: bool) -> None:
    model, centres = network(), torch.randn(5, 20)
    kept = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [draw(64, centres) for _ in range(STEPS)]

    def step(batch: Batch) -> Tensor:
        own = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9) if remade else kept
        own.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        own.step()
        return loss.detach()

    found = ravine.check(model, F.cross_entropy, batches, step=step, learn=False).codes
    other = torch.optim.SGD(network().parameters(), lr=0.1)
    with ravine.Monitor(model, None) as monitor:
        monitor.record(loss=F.cross_entropy(model(batches[0][0]), batches[0][1]))
        for batch in batches:
            monitor.record(loss=step(batch))
            other.step()

    assert found == (("optimizer-remade",) if remade else ())
    assert monitor.step == STEPS
    assert monitor.snapshots[-1].lr == 0.1
    assert monitor.findings.codes == ()
