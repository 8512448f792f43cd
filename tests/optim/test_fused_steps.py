"""The fused step engine against plain steps, which have float64 oracles of their own."""

import copy
import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ravine.kernels.library import Library, load_library
from ravine.kernels.variants import VARIANTS
from ravine.optim import OPTIMIZERS, Adam, Momentum, Nadam, RMSProp
from ravine.optim.base import RuleOptimizer

pytestmark = pytest.mark.skipif(load_library() is None, reason="no C library here")
Make = Callable[..., RuleOptimizer]


def variants_of(kind: type[RuleOptimizer]) -> dict[str, Make]:
    """Returns by its name in the kernels the optimizer with each combination of its options."""
    optimizer = kind([nn.Parameter(torch.zeros(1))])  # type: ignore[call-arg, arg-type]
    combinations = [
        dict(zip(kind.options, values, strict=True))
        for values in itertools.product(*kind.options.values())
    ]
    return {
        optimizer.variant({**optimizer.defaults, **options}): partial(kind, **options)
        for options in combinations
    }


MAKE: dict[str, Make] = {
    name: make
    for row in OPTIMIZERS.values()
    if row.kind.by_element
    for name, make in variants_of(row.kind).items()
}
every = pytest.mark.parametrize("name", sorted(MAKE))


def test_every_variant_of_the_kernels_is_tested_here() -> None:
    assert set(MAKE) == set(VARIANTS)


def twins(make: Make, shapes: Sequence[tuple[int, ...]], **options: Any) -> list[Any]:
    """Two optimizers on equal parameters, the plain one first."""
    chance = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=chance) for shape in shapes]
    made = []
    for implementation in ("plain", "fused"):
        held = [nn.Parameter(value.clone()) for value in values]
        made.append((held, make(held, implementation=implementation, **options)))
    return made


def run(pair: list[Any], gradients: Sequence[Sequence[torch.Tensor | None]]) -> None:
    for held, optimizer in pair:
        for row in gradients:
            for p, g in zip(held, row, strict=True):
                p.grad = None if g is None else g.clone()
            optimizer.step()


def assert_alike(pair: list[Any], *, steps: int) -> None:
    """State agrees to roundings of the largest in it; weights to a share of a step.

    Where a gradient and its decay cancel, what is left of them is normalised to a whole step,
    and the rounding error with it.
    """
    (plain, one), (fused, two) = pair
    for p, q in zip(plain, fused, strict=True):
        largest_step = one.param_groups[0]["lr"] * 10
        torch.testing.assert_close(q, p, rtol=1e-6, atol=2e-3 * largest_step)
        if p.numel():
            assert float((q - p).detach().abs().mean()) < 1e-6 * steps
        for slot, value in one.state[p].items():
            largest = float(value.abs().max()) if value.numel() else 0.0
            torch.testing.assert_close(
                two.state[q][slot], value, rtol=1e-6, atol=4 * steps * 2**-24 * largest
            )


@every
@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
def test_fused_steps_agree_with_plain_ones(name: str, decay: str) -> None:
    shapes = [(3,), (70_001,), (2, 5, 3, 3), (1,), (0,), (64, 64)]
    pair = twins(MAKE[name], shapes, lr=0.01, weight_decay=0.03, decay=decay)
    chance = torch.Generator().manual_seed(1)
    gradients = [[torch.randn(shape, generator=chance) for shape in shapes] for _ in range(10)]
    run(pair, gradients)
    assert_alike(pair, steps=10)


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(MAKE)),
    sizes=st.lists(st.integers(0, 70), min_size=1, max_size=6),
    exponents=st.lists(st.integers(-30, 20), min_size=1, max_size=4),
    missing=st.integers(0, 2**12),
)
def test_any_sizes_and_magnitudes_and_gradients_that_are_missing(
    name: str, sizes: list[int], exponents: list[int], missing: int
) -> None:
    pair = twins(MAKE[name], [(size,) for size in sizes], lr=0.01)
    chance = torch.Generator().manual_seed(missing)
    gradients = [
        [
            None if missing >> (i + k) & 1 else 10.0**exponent * torch.randn(n, generator=chance)
            for i, n in enumerate(sizes)
        ]
        for k, exponent in enumerate(exponents)
    ]
    run(pair, gradients)
    (plain, one), (fused, two) = pair
    for p, q in zip(plain, fused, strict=True):
        if not one.state[p]:
            assert not two.state[q]
            assert torch.equal(p, q)
    # Sums of opposite gradients cancel: each is exact to roundings of the largest so far.
    for p, q in zip(plain, fused, strict=True):
        torch.testing.assert_close(q, p, rtol=1e-4, atol=1e-5)
        for slot, value in one.state[p].items():
            largest = float(value.abs().max()) if value.numel() else 0.0
            torch.testing.assert_close(
                two.state[q][slot], value, rtol=1e-5, atol=max(1e-37, 1e-6 * largest)
            )


@every
def test_a_fused_step_calls_nothing_of_torch(name: str) -> None:
    (_, _), (held, optimizer) = twins(MAKE[name], [(5,), (4, 4)])
    for p in held:
        p.grad = torch.ones_like(p)
    optimizer.step()
    called: list[str] = []

    class Listener(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            called.append(str(func))
            return func(*args, **(kwargs or {}))

    with Listener():
        optimizer.step()
    assert [one for one in called if "profiler" not in one] == []


@every
def test_threads_and_channels_last_change_no_bit(name: str) -> None:
    ends = []
    for threads, form in itertools.product((1, 2), (torch.contiguous_format, torch.channels_last)):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            chance = torch.Generator().manual_seed(3)
            p = nn.Parameter(torch.randn(40, 30, 9, 9, generator=chance).to(memory_format=form))
            optimizer = MAKE[name]([p], implementation="fused")
            for _ in range(3):
                p.grad = torch.randn(40, 30, 9, 9, generator=chance).to(memory_format=form)
                optimizer.step()
            ends.append(p.detach().contiguous())
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(ends[0], end) for end in ends[1:])


def test_the_code_for_every_processor_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_library()
    assert found is not None
    ends = []
    for level in range(found.level + 1):
        library = Library(found.functions, level)
        monkeypatch.setattr(
            "ravine.optim.step_engine.load_library", lambda library=library: library
        )
        p = nn.Parameter(torch.linspace(-2, 2, 1001))
        optimizer = Adam([p], weight_decay=0.1)
        for k in range(5):
            p.grad = torch.sin(7 * p.detach() + k)
            optimizer.step()
        ends.append(p.detach())
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-6, atol=1e-7)


def test_a_gradient_laid_out_in_another_way_is_read_by_its_places() -> None:
    for (held, optimizer), form in zip(
        twins(Adam, [(6, 5, 3, 3)], lr=0.1),
        (torch.contiguous_format, torch.channels_last),
        strict=True,
    ):
        held[0].grad = torch.arange(270.0).sin().view(6, 5, 3, 3).to(memory_format=form)
        optimizer.step()
        held[0].grad = held[0].grad.to(memory_format=torch.contiguous_format)
        optimizer.step()
        end = held[0].detach().clone() if form is torch.contiguous_format else None
        first = end if end is not None else first  # noqa: F821
    torch.testing.assert_close(held[0].detach(), first, rtol=1e-6, atol=1e-7)


def test_weights_that_moved_are_found_where_they_are() -> None:
    pair = twins(Momentum, [(4, 3, 3, 3), (9,)], lr=0.1)
    gradients = [[torch.ones(4, 3, 3, 3), torch.ones(9)]] * 2
    run(pair, gradients)
    for held, _ in pair:
        held[0].data = held[0].data.clone(memory_format=torch.channels_last)
        held[1].data = 2 * held[1].data
    run(pair, gradients)
    assert_alike(pair, steps=4)


def test_a_state_that_somebody_replaced_is_used() -> None:
    pair = twins(Momentum, [(7,)], lr=0.1)
    gradients = [[torch.ones(7)]]
    run(pair, gradients)
    for held, optimizer in pair:
        optimizer.state[held[0]]["v"] = torch.full((7,), 100.0)
    run(pair, gradients)
    for held, optimizer in pair:
        optimizer.state[held[0]] = {"v": torch.zeros(7), "step": torch.tensor(9)}
    run(pair, gradients)
    assert_alike(pair, steps=3)
    (_, _), (held, optimizer) = pair
    assert int(optimizer.state[held[0]]["step"]) == 10


def test_what_the_library_cannot_step_is_stepped_plainly_beside_it() -> None:
    narrow = nn.Parameter(torch.ones(4, dtype=torch.float64))
    gappy = nn.Parameter(torch.ones(8)[::2])
    plain = nn.Parameter(torch.ones(4))
    optimizer = RMSProp([narrow, gappy, plain], lr=0.01)
    for _ in range(3):
        for p in (narrow, gappy, plain):
            p.grad = torch.full_like(p, 0.5)
        optimizer.step()
    assert narrow.dtype is torch.float64
    torch.testing.assert_close(gappy.detach(), plain.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(narrow.detach().float(), plain.detach(), rtol=1e-6, atol=0)


def test_tied_and_frozen_parameters() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    model[2].requires_grad_(False)
    frozen = model[2].weight.detach().clone()
    twin = copy.deepcopy(model)
    for one, implementation in ((model, "plain"), (twin, "fused")):
        optimizer = Adam(one.parameters(), 0.1, implementation=implementation)  # type: ignore[arg-type]
        for _ in range(3):
            optimizer.zero_grad()
            one(torch.ones(2, 4)).sum().backward()
            optimizer.step()
    assert torch.equal(model[2].weight, frozen)
    torch.testing.assert_close(model[0].weight, twin[0].weight, rtol=1e-5, atol=1e-6)


def test_a_graph_that_needs_the_old_weights_is_told() -> None:
    layer = nn.Linear(3, 3)
    optimizer = Momentum(layer.parameters(), implementation="fused")
    out = layer(layer(torch.ones(1, 3)).tanh()).sum()
    for p in layer.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_denormal_numbers_do_not_last() -> None:
    p = nn.Parameter(torch.zeros(16))
    optimizer = Momentum([p], implementation="fused", momentum=0.5)
    p.grad = torch.full((16,), 1e-30)
    optimizer.step()
    p.grad = torch.zeros(16)
    for _ in range(60):
        optimizer.step()
    assert not optimizer.state[p]["v"].any()


def test_the_state_of_a_saved_optimizer_is_plain_and_loads_without_pickled_code(tmp_path) -> None:  # type: ignore[no-untyped-def]
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = Nadam([p])
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    assert all(type(slots) is dict for slots in loaded["state"].values())


@pytest.mark.parametrize("enabled", [False, True])
def test_works_under_a_grad_scaler_and_autocast(enabled: bool) -> None:
    layer = nn.Linear(4, 2)
    optimizer = Adam(layer.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", enabled=enabled, init_scale=4.0)
    before = layer.weight.detach().clone()
    for bad in (False, True):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = layer(torch.ones(3, 4)).float().sum()
        scaler.scale(loss).backward()
        if bad:
            layer.weight.grad[0, 0] = torch.inf  # type: ignore[index]
            if not enabled:
                break
            kept = layer.weight.detach().clone()
        scaler.step(optimizer)
        scaler.update()
    assert not torch.equal(before, layer.weight)
    if enabled:
        assert torch.equal(kept, layer.weight)


def test_works_with_a_compiled_model() -> None:
    layer = nn.Linear(4, 2)
    compiled = torch.compile(layer, backend="aot_eager")
    optimizer = Momentum(layer.parameters(), 0.05)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = compiled(torch.ones(3, 4)).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.slow
def test_two_processes_under_distributed_data_parallel_train_like_one(tmp_path: Path) -> None:
    """With gradients that are views of the buckets, and without."""
    case = Path(__file__).with_name("distributed_case.py")
    command = [sys.executable, str(case), str(tmp_path / "store")]
    processes = [
        subprocess.Popen([*command, rank], stdout=subprocess.PIPE, text=True) for rank in ("0", "1")
    ]
    told = [process.communicate(timeout=600)[0] for process in processes]
    assert told == ["equal\n" * 2] * 2
