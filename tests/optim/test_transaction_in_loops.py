"""Transactions in loops as people write them: begin() forgotten, hooks, schedulers, reloads."""

import copy
import gc
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

import ravine
from ravine.optim import Adam, Momentum, Transaction

paths = pytest.mark.parametrize("implementation", ["plain", "auto"])
LABELS = torch.arange(8)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))


def images(seed: int = 0, *, broken: bool = False) -> Tensor:
    x = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    if broken:
        x[0] = torch.nan
    return x


def go(model: Callable[[Tensor], Tensor], transaction: Transaction, x: Tensor) -> None:
    """A step without begin()."""
    loss = F.cross_entropy(model(x), LABELS)
    loss.backward()
    transaction.step(loss, clear=True)


def buffers(model: nn.Module) -> list[Tensor]:
    return [b.clone() for b in model.buffers()]


def are_equal(one: list[Tensor], two: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@paths
def test_statistics_stay_where_nobody_said_that_a_step_begins(implementation: Any) -> None:
    model = network()
    optimizer = Adam(model.parameters(), lr=1e-2, implementation=implementation)
    transaction = Transaction(optimizer, model)
    start = buffers(model)

    go(model, transaction, images(broken=True))

    assert are_equal(buffers(model), start)
    assert bool(model.eval()(images()).isfinite().all())


@paths
def test_statistics_go_back_one_step_where_begin_was_called_once(implementation: Any) -> None:
    model = network()
    optimizer = Adam(model.parameters(), lr=1e-2, implementation=implementation)
    transaction = Transaction(optimizer, model)
    transaction.begin()
    for seed in range(20):
        go(model, transaction, images(seed))
    before = buffers(model)

    go(model, transaction, images(broken=True))

    assert int(model[1].num_batches_tracked) == 20
    assert are_equal(buffers(model), before)
    go(model, transaction, images(21))
    assert int(model[1].num_batches_tracked) == 21


def test_passes_that_add_up_to_one_step_are_undone_together() -> None:
    model = network()
    transaction = Transaction(Momentum(model.parameters()), model)
    go(model, transaction, images())
    before = buffers(model)

    F.cross_entropy(model(images(1)), LABELS).backward()
    go(model, transaction, images(broken=True))

    assert are_equal(buffers(model), before)


def reloaded(model: nn.Module, *, assign: bool = False) -> None:
    other = {k: v + 1 for k, v in model.state_dict().items() if k.startswith("1.")}
    # Weights that are assigned are other parameters than the optimizer's: buffers alone.
    kept = {k: v for k, v in other.items() if "running" in k or "num" in k}
    model.load_state_dict(kept, strict=False, assign=assign)


def measured_anew(model: nn.Module) -> None:
    with torch.no_grad():
        model(images(7))


def exchanged(model: nn.Module) -> None:
    norm = model.get_submodule("1")
    norm.running_mean = torch.full((4,), 0.25)


@pytest.mark.parametrize(
    "between",
    [reloaded, lambda m: reloaded(m, assign=True), measured_anew, exchanged],
    ids=["loaded", "assigned", "measured anew", "exchanged"],
)
def test_what_changes_statistics_between_two_steps_is_not_taken_back(
    between: Callable[[nn.Module], None],
) -> None:
    model = network()
    transaction = Transaction(Momentum(model.parameters()), model)
    go(model, transaction, images())
    before = buffers(model)

    between(model)
    wanted = buffers(model)
    go(model, transaction, images(broken=True))

    assert not are_equal(before, wanted)
    assert are_equal(buffers(model), wanted)


def test_a_state_loaded_after_a_pass_that_was_given_up_is_not_taken_back() -> None:
    model = network()
    transaction = Transaction(Momentum(model.parameters()), model)
    model(images())
    reloaded(model)
    wanted = buffers(model)

    go(model, transaction, images(broken=True))

    assert are_equal(buffers(model), wanted)


@pytest.mark.parametrize(
    "unseen",
    [lambda m: m.forward, lambda m: torch.compile(m, backend="eager", fullgraph=True)],
    ids=["forward", "compiled"],
)
def test_a_pass_that_runs_no_hook_goes_back_to_the_end_of_the_step_before(
    unseen: Callable[[nn.Module], Callable[[Tensor], Tensor]],
) -> None:
    model = network()
    transaction = Transaction(Momentum(model.parameters()), model)
    forward = unseen(model)
    for seed in range(3):
        go(forward, transaction, images(seed))
    before = buffers(model)

    go(forward, transaction, images(broken=True))

    assert are_equal(buffers(model), before)


class Average(nn.Module):
    """Puts a new tensor in place of its buffer in each pass, as vector quantisation does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 8)
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        self.mean = 0.9 * self.mean + 0.1 * y.detach().mean(0)
        return y - self.mean


def test_a_buffer_that_is_another_tensor_after_each_pass_is_put_back() -> None:
    model = Average()
    transaction = Transaction(Momentum(model.parameters()), model)
    go(model, transaction, torch.randn(8, 4))
    before = buffers(model)

    go(model, transaction, torch.full((8, 4), torch.nan))

    assert are_equal(buffers(model), before)


def test_copies_and_pickles_take_nothing_along_and_the_model_is_left_clean() -> None:
    model = network()
    transaction = Transaction(Momentum(model.parameters()), model)
    go(model, transaction, images())
    before = buffers(model)
    twin = copy.deepcopy(model)
    torch.save(model, io.BytesIO())

    twin(images(broken=True))
    go(model, transaction, images(broken=True))

    assert are_equal(buffers(model), before)
    del transaction
    gc.collect()
    assert not model._forward_pre_hooks
    assert not model._load_state_dict_post_hooks


@paths
def test_step_hooks_are_called_once_and_in_torchs_order(implementation: Any) -> None:
    model = network()
    optimizer = Adam(model.parameters(), lr=1e-2, implementation=implementation)
    transaction = Transaction(optimizer, model)
    go(model, transaction, images())
    called: list[tuple[str, bool]] = []
    weights = model[0].weight.detach().clone()

    def noting(name: str) -> Callable[..., None]:
        def hook(given: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
            assert given is optimizer
            assert args[0] is optimizer
            called.append((name, torch.equal(model[0].weight, weights)))

        return hook

    handles = [
        register_optimizer_step_pre_hook(noting("global, before")),
        register_optimizer_step_post_hook(noting("global, after")),
        optimizer.register_step_pre_hook(noting("own, before")),
        optimizer.register_step_post_hook(noting("own, after")),
    ]
    try:
        go(model, transaction, images(1))
        names = [name for name, _ in called]
        go(model, transaction, images(broken=True))
    finally:
        for handle in handles:
            handle.remove()

    assert names == ["global, before", "own, before", "own, after", "global, after"]
    assert [same for _, same in called[:4]] == [True, True, False, False]
    assert [name for name, _ in called[4:]] == names


@paths
def test_gradients_that_a_hook_puts_in_place_are_those_of_the_step(implementation: Any) -> None:
    w = nn.Parameter(torch.zeros(3))
    optimizer = Momentum([w], lr=1.0, momentum=0.0, implementation=implementation)
    transaction = Transaction(optimizer)
    w.grad = torch.ones(3)
    transaction.step(torch.tensor(0.0))

    def doubled(*_: Any) -> None:
        w.grad = torch.full((3,), 2.0)

    optimizer.register_step_pre_hook(doubled)
    transaction.step(torch.tensor(0.0))

    assert w.tolist() == [-3.0] * 3


def test_a_hook_that_wants_other_arguments_is_refused() -> None:
    w = nn.Parameter(torch.zeros(3))
    optimizer = Momentum([w], lr=1.0, momentum=0.0)
    transaction = Transaction(optimizer)
    w.grad = torch.ones(3)
    transaction.step(torch.tensor(0.0))
    optimizer.register_step_pre_hook(lambda o, _args, _kwargs: ((o,), {"clear": True}))

    with pytest.raises(RuntimeError, match="no arguments to change"):
        transaction.step(torch.tensor(0.0))


@paths
def test_a_scheduler_of_torch_knows_that_there_was_a_step(implementation: Any) -> None:
    model = network()
    optimizer = Adam(model.parameters(), lr=1e-2, implementation=implementation)
    transaction = Transaction(optimizer, model)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    for _ in range(2):
        go(model, transaction, images())
        scheduler.step()  # a warning is an error here

    assert optimizer.param_groups[0]["lr"] == pytest.approx(2.5e-3)


@paths
def test_a_check_sees_that_a_transaction_steps(implementation: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = Adam(model.parameters(), lr=1e-2, implementation=implementation)
    batches = [(torch.randn(32, 1, 8, 8), torch.randint(0, 10, (32,))) for _ in range(4)]
    transaction = Transaction(optimizer, model)

    def step(batch: tuple[Tensor, Tensor]) -> None:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        transaction.step(loss, clear=True)

    found = ravine.check(model, F.cross_entropy, batches, optimizer, step=step, learn=False)

    assert found.codes == ()
