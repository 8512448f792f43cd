"""The step engine of GPUs on the CPU: tests/kernels/test_triton_steps.py runs this, interpreted."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from ravine.core.errors import SettingError
from ravine.kernels.triton_library import load_triton
from ravine.kernels.variants import VARIANTS
from ravine.optim import OPTIMIZERS, AdaptiveClip, Momentum, Nadam, Transaction
from ravine.optim.base import RuleOptimizer
from ravine.optim.clip import norm_scale
from ravine.optim.triton_engine import TritonSteps

CPU = torch.device("cpu")
triton = load_triton()
assert triton is not None
assert triton.INTERPRETED


CLASSES = list(dict.fromkeys(row.kind for row in OPTIMIZERS.values() if row.kind.by_element))
NUMBERS = {"momentum": 0.8, "alpha": 0.95, "betas": (0.8, 0.95), "eps": 1e-6}


def make(name: str, params: Any, **options: Any) -> RuleOptimizer:
    """Returns the optimizer whose variant in the kernels has this name."""
    for kind in CLASSES:
        one = kind([nn.Parameter(torch.zeros(1))])  # type: ignore[call-arg, arg-type]
        for values in itertools.product(*kind.options.values()):
            chosen = dict(zip(kind.options, values, strict=True))
            if one.variant({**one.defaults, **chosen}) == name:
                known = {key: number for key, number in NUMBERS.items() if key in one.defaults}
                given = {"lr": 0.01, "implementation": "plain", **known, **chosen, **options}
                return kind(params, **given)
    raise AssertionError(f"no optimizer has the variant {name}")


# A rule without a formula here is compared with plain steps, which have float64 oracles.
FORMULAS = {"momentum", "nesterov", "adagrad", "rmsprop", "adam"} | {
    f"nadam_{form}" for form in ("lecture", "dozat_constant", "dozat", "keras")
}


def oracle(name: str, w: Tensor, gradients: Sequence[Tensor], *, η: float, λ: float) -> Tensor:
    """The formulas in float64; decoupled decay. Knows nothing of the package."""
    base, inside = name.removesuffix("_eps_in_root"), name.endswith("_eps_in_root")
    γ, α, ε = 0.8, 0.95, 1e-6
    w = w.double().clone()
    v, G, product = torch.zeros_like(w), torch.zeros_like(w), 1.0

    def root(x: Tensor) -> Tensor:
        return (x + ε).sqrt() if inside else x.sqrt() + ε

    for k, g in enumerate((g.double() for g in gradients), start=1):
        w -= η * λ * w
        v = γ * v + (1 - γ) * g
        G = G + g * g if base == "adagrad" else α * G + (1 - α) * g * g
        if base == "momentum":
            w -= η * v
        elif base == "nesterov":
            w -= η * (γ * v + (1 - γ) * g)
        elif base in ("adagrad", "rmsprop"):
            w -= η * g / root(G)
        else:
            ψ = {"nadam_dozat": 0.004, "nadam_keras": 1.0}.get(base, math.nan)
            now, later = (γ * (1 - 0.5 * 0.96 ** (i * ψ)) for i in (k, k + 1))
            product *= now
            on_v, on_g = {
                "adam": (1 / (1 - γ**k), 0.0),
                "nadam_lecture": (γ / (1 - γ**k), (1 - γ) / (1 - γ**k)),
                "nadam_dozat_constant": (γ / (1 - γ ** (k + 1)), (1 - γ) / (1 - γ**k)),
            }.get(base, (later / (1 - product * later), (1 - now) / (1 - product)))
            w -= η * (on_v * v + on_g * g) / root(G / (1 - α**k))
    return w


def table_sizes(monkeypatch: pytest.MonkeyPatch, *, block: int, pieces: int) -> None:
    """Small pieces, so that small tensors have many."""
    small: Callable[..., Any] = triton.TritonTable
    monkeypatch.setattr(
        triton, "TritonTable", lambda *given: small(*given, block=block, pieces=pieces)
    )


def engine_of(optimizer: RuleOptimizer) -> TritonSteps:
    optimizer._prepare()
    return TritonSteps(optimizer.param_groups, optimizer.state, optimizer.variant)  # type: ignore[arg-type]


def parameters(sizes: Sequence[int | tuple[int, ...]], dtype: torch.dtype) -> list[nn.Parameter]:
    chance = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(n, generator=chance).to(dtype)) for n in sizes]


def gradients_for(held: Sequence[Tensor], seed: int) -> list[Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return [torch.randn(p.shape, generator=chance).to(p.dtype) for p in held]


def give(held: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    for p, g in zip(held, gradients, strict=True):
        p.grad = None if g is None else g.clone(memory_format=torch.preserve_format)


def everything(held: Sequence[Tensor], optimizer: RuleOptimizer) -> list[Tensor]:
    states = [x for p in held for x in optimizer.state[p].values()]
    return [x.detach().clone() for x in (*held, *states)]


def narrowed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """As the interpreter stores: bfloat16 is cut off where devices round."""
    if dtype is torch.bfloat16:
        return (x.view(torch.int32) & -65536).view(torch.float32)
    return x.to(dtype).float()


SIZES = (3, 0, 1, 32, 33, 70)  # less than a block, one, and several


@pytest.mark.parametrize("name", list(VARIANTS))
def test_every_rule_agrees_with_the_formula_and_the_plain_path(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table_sizes(monkeypatch, block=32, pieces=4)
    plain, stepped = (parameters(SIZES, torch.float32) for _ in range(2))
    starts = [p.detach().clone() for p in plain]
    one, two = (make(name, held, weight_decay=0.1, lr=0.01) for held in (plain, stepped))
    for optimizer in (one, two):
        for group in optimizer.param_groups:
            group["decay"] = "decoupled"
    rows = [gradients_for(plain, seed) for seed in range(3)]
    engine = None
    counters = triton.new_counters(CPU)
    for k, row in enumerate(rows):
        give(plain, row)
        give(stepped, row)
        one.step()
        engine = engine or engine_of(two)
        engine.gather()
        if k % 2:  # both ways count the same steps
            engine.guarded_step(two.param_groups, torch.tensor(1.0), limit=None, counters=counters)
        else:
            engine.step(two.param_groups)
    for place, (p, q) in enumerate(zip(plain, stepped, strict=True)):
        if name.removesuffix("_eps_in_root") in FORMULAS:
            truth = oracle(name, starts[place], [row[place] for row in rows], η=0.01, λ=0.1)
            torch.testing.assert_close(q.detach().double(), truth, rtol=2e-6, atol=2e-7)
        torch.testing.assert_close(q, p, rtol=1e-6, atol=1e-7)
        assert set(one.state[p]) == set(two.state[q])
        for slot, value in one.state[p].items():
            torch.testing.assert_close(two.state[q][slot], value, rtol=1e-6, atol=1e-7)
        assert int(two.state[q]["step"]) == len(rows)


def test_a_step_is_one_launch_and_a_guarded_one_two() -> None:
    held = parameters(SIZES, torch.float32)
    optimizer = make("adam", held)
    give(held, gradients_for(held, 1))
    engine = engine_of(optimizer)
    counters = triton.new_counters(CPU)
    for lr in (0.1, 0.2, 0.4):
        optimizer.param_groups[0]["lr"] = lr
        before, was = engine.launches, held[0].detach().clone()
        engine.gather()
        engine.step(optimizer.param_groups)
        assert engine.launches == before + 1
        moved = (held[0].detach() - was).abs().max()
        assert lr / 2 < float(moved) < 2 * lr
    before = engine.launches
    engine.guarded_step(optimizer.param_groups, torch.tensor(1.0), limit=0.1, counters=counters)
    assert engine.launches == before + 2


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_changes_no_bit(broken: float, monkeypatch: pytest.MonkeyPatch) -> None:
    table_sizes(monkeypatch, block=32, pieces=2)
    held = parameters((5, 100, 7, 64), torch.float32)
    optimizer = make("nadam_dozat", held)
    give(held, gradients_for(held, 1))
    engine = engine_of(optimizer)
    counters = triton.new_counters(CPU)

    def step(loss: float) -> Any:
        engine.gather()
        return engine.guarded_step(
            optimizer.param_groups, torch.tensor(loss), limit=1.0, counters=counters
        )

    assert step(1.0).ok
    before = everything(held, optimizer)
    for places, bad in (([1], 1), ([0, 2], 2), ([], -1)):
        give(held, gradients_for(held, 2))
        for place in places:
            held[place].grad[-1] = broken  # type: ignore[index]
        decision = step(1.0 if places else broken)
        assert (bool(decision.ok), int(decision.bad)) == (False, bad)
        after = everything(held, optimizer)
        assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
    assert counters.tolist() == [4, 1, 3, 1, 3, 1, 1]
    give(held, gradients_for(held, 3))
    decision = step(1.0)
    assert decision.ok
    assert not torch.equal(before[0], held[0])
    assert counters.tolist() == [5, 2, 3, 2, 0, 1, 1]


def test_nothing_that_is_compiled_in_changes_with_rates_limits_or_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: set[tuple[Any, ...]] = set()

    class Listener:
        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            def launch(*given: Any, **constants: Any) -> None:
                types = [x.dtype if isinstance(x, Tensor) else type(x) for x in given]
                compiled.add((self.kernel, *types, *sorted(constants.items(), key=str)))
                self.kernel[grid](*given, **constants)

            return launch

    for name in ("step", "squares"):
        kernel = getattr(triton.triton_steps, name)
        monkeypatch.setattr(triton.triton_steps, name, Listener(kernel))
    for sizes in ((40, 3), (70, 1, 8)):
        held = parameters(sizes, torch.float32)
        optimizer = make("adam", held)
        engine, counters = None, triton.new_counters(CPU)
        for k in range(1, 4):
            give(held, gradients_for(held, k))
            engine = engine or engine_of(optimizer)
            optimizer.param_groups[0].update(lr=0.1 / k, weight_decay=0.1 * k, eps=1e-6 * k)
            engine.gather()
            loss, limit = torch.tensor(float(k)), 1.0 * k
            engine.guarded_step(optimizer.param_groups, loss, limit=limit, counters=counters)
    assert len(compiled) == 2


def test_bad_counts_in_the_order_that_is_asked_for() -> None:
    held = parameters((2, 3, 4), torch.float32)
    optimizer = make("momentum", held)
    give(held, gradients_for(held, 1))
    held[0].grad[0] = math.nan  # type: ignore[index]
    engine = engine_of(optimizer)
    engine.gather()
    decision = engine.guarded_step(
        optimizer.param_groups,
        torch.tensor(1.0),
        limit=None,
        counters=triton.new_counters(CPU),
        order=[held[1], held[2], held[0]],
    )
    assert int(decision.bad) == 2


@pytest.mark.parametrize("size", [1.0, 1e-30, 1e20])
def test_norm_and_clip_at_any_magnitude(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    table_sizes(monkeypatch, block=32, pieces=2)
    held, plain = (parameters((5, 100, 0, 64), torch.float32) for _ in range(2))
    one, two = make("rmsprop", plain), make("rmsprop", held)
    for each in (held, plain):
        give(each, [size * g for g in gradients_for(each, 1)])
    held[0].grad = plain[0].grad = None
    engine = engine_of(two)
    engine.gather()
    sizes = torch.stack(
        [
            torch.zeros((), dtype=torch.float64) if p.grad is None else p.grad.double().norm()
            for p in held
        ]
    )
    norm = sizes.norm()
    limit = float(norm) / 3
    decision = engine.guarded_step(
        two.param_groups,
        torch.tensor(1.0),
        limit=torch.tensor(limit, dtype=torch.float64),
        counters=(counters := triton.new_counters(CPU)),
    )
    torch.testing.assert_close(decision.norm, norm, rtol=1e-12, atol=0)
    torch.testing.assert_close(float(decision.scale), limit / float(norm), rtol=1e-12, atol=0)
    torch.testing.assert_close(engine.sizes(), sizes, rtol=1e-12, atol=0)
    assert counters.tolist() == [1, 1, 0, 1, 0, -1, -1]
    one.step(scale=norm_scale(norm, limit))
    for p, q in zip(plain, held, strict=True):
        torch.testing.assert_close(q, p, rtol=1e-6, atol=1e-7)


def test_a_step_that_the_device_was_told_to_leave() -> None:
    held = parameters((5, 9), torch.float32)
    optimizer = make("adam", held)
    give(held, gradients_for(held, 1))
    engine = engine_of(optimizer)
    engine.gather()
    before = everything(held, optimizer)
    engine.step(optimizer.param_groups, ok=torch.tensor(False))
    assert all(torch.equal(x, y) for x, y in zip(before, everything(held, optimizer), strict=True))
    engine.step(optimizer.param_groups, ok=torch.tensor(True), scale=torch.tensor(0.5))
    assert int(optimizer.state[held[0]]["step"]) == 1
    v = optimizer.state[held[0]]["v"]
    torch.testing.assert_close(v, 0.2 * 0.5 * held[0].grad)  # type: ignore[operator]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights_are_computed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    held = [*parameters((40, 3), dtype), *parameters((5,), torch.float32)]
    optimizer = make("momentum", held, lr=0.1)
    give(held, gradients_for(held, 1))
    optimizer._prepare()
    optimizer.state[held[1]]["v"] = torch.zeros(3)  # a state may be wider than its weights
    engine = engine_of(optimizer)
    wide = [p.detach().float().clone() for p in held]
    v = [torch.zeros_like(w) for w in wide]
    for seed in range(3):
        give(held, gradients_for(held, seed))
        engine.gather()
        engine.step(optimizer.param_groups)
        for i, p in enumerate(held):
            new = v[i] * 0.8 + p.grad.float() * 0.2  # type: ignore[union-attr]
            wide[i] = narrowed(wide[i] - 0.1 * new, p.dtype)
            v[i] = narrowed(new, optimizer.state[p]["v"].dtype)
    assert engine.launches == 3
    for i, p in enumerate(held):
        ulp = torch.finfo(p.dtype).eps
        torch.testing.assert_close(p.detach().float(), wide[i], rtol=ulp, atol=1e-6)
        assert float((p.detach().float() != wide[i]).float().mean()) < 0.2
    assert optimizer.state[held[1]]["v"].dtype is torch.float32


def test_missing_gradients_other_layouts_and_two_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    table_sizes(monkeypatch, block=32, pieces=2)
    ends = []
    for stepped in (False, True):
        held = parameters(((4, 3, 3, 3), (6, 5), (40,)), torch.float32)
        held[0].data = held[0].data.to(memory_format=torch.channels_last)
        groups = [{"params": held[:2]}, {"params": held[2:], "eps_in_root": True, "lr": 0.02}]
        optimizer = make("adam", groups)
        engine = None
        counters = triton.new_counters(CPU)
        for k in range(4):
            row: list[Any] = gradients_for(held, k)
            if k % 2:
                row[0] = row[0].to(memory_format=torch.channels_last)
            give(held, [None if k == i + 1 else g for i, g in enumerate(row)])
            if not stepped:
                optimizer.step()
                continue
            engine = engine or engine_of(optimizer)
            assert engine.is_current(optimizer.param_groups, optimizer.state)  # type: ignore[arg-type]
            engine.gather()
            loss = torch.tensor(1.0)
            engine.guarded_step(optimizer.param_groups, loss, limit=1e9, counters=counters)
        assert [int(optimizer.state[p]["step"]) for p in held] == [3, 3, 3]
        ends.append(everything(held, optimizer))
    assert counters.tolist() == [4, 4, 0, 0, 0, -1, -1]
    for x, y in zip(*ends, strict=True):
        torch.testing.assert_close(y, x, rtol=1e-6, atol=1e-7)


def test_moved_weights_and_replaced_states_are_noticed() -> None:
    held = parameters((4, 9), torch.float32)
    optimizer = make("momentum", held)
    give(held, gradients_for(held, 1))
    engine = engine_of(optimizer)
    current = (optimizer.param_groups, optimizer.state)
    assert engine.is_current(*current)  # type: ignore[arg-type]
    held[0].data = held[0].data.clone()
    assert not engine.is_current(*current)  # type: ignore[arg-type]
    engine = engine_of(optimizer)
    optimizer.state[held[0]]["v"] = torch.zeros(4)
    assert not engine.is_current(*current)  # type: ignore[arg-type]


def test_what_it_cannot_step_is_not_held() -> None:
    held = [nn.Parameter(torch.ones(8)[::2]), nn.Parameter(torch.ones(4, dtype=torch.float64))]
    held += parameters((4,), torch.float32)
    optimizer = make("adam", held)
    give(held, [torch.ones_like(p) for p in held])
    engine = engine_of(optimizer)
    assert list(engine.held) == held[2:]
    assert not engine.is_complete


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_transaction_decides_and_counts_on_the_device(adaptive: bool) -> None:
    ends = []
    for implementation in ("plain", "triton"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 2))
        optimizer = Nadam(model.parameters(), 0.01, implementation=implementation)  # type: ignore[arg-type]
        clip = AdaptiveClip(z=3.0, window=8, least=3) if adaptive else 0.5
        transaction = Transaction(optimizer, model, clip=clip)
        for k in range(8):
            transaction.begin()
            chance = torch.Generator().manual_seed(k)
            loss = model(torch.randn(6, 5, generator=chance)).square().sum() * 5.0 ** (k == 6)
            loss.backward()
            if k == 4:
                model[2].bias.grad[0] = math.nan  # type: ignore[index]
            kept = optimizer._engine.launches if isinstance(optimizer._engine, TritonSteps) else 0
            transaction.step(loss, clear=True)
            if isinstance(optimizer._engine, TritonSteps) and k > 1:
                assert optimizer._engine.launches == kept + 2
        ends.append(
            (
                [p.detach() for p in model.parameters()],
                [buffer.clone() for buffer in model.buffers()],
                transaction.counts,
                list(transaction.norms().values()),
                transaction.report(),
            )
        )
    plain, device = ends
    assert device[4] == plain[4]
    assert "where the gradient of 2.bias was not finite" in device[4]
    torch.testing.assert_close(device[2], plain[2], rtol=0, atol=0)
    for one, two in zip([*plain[0], *plain[1]], [*device[0], *device[1]], strict=True):
        torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-7)
    assert device[3] == pytest.approx(plain[3], rel=1e-5)


def test_hooks_of_all_optimizers_see_the_steps_of_a_transaction_once() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = Nadam(model.parameters(), 0.01, implementation="triton")
    transaction = Transaction(optimizer, model)
    called: list[str] = []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: called.append("before")),
        register_optimizer_step_post_hook(lambda *_: called.append("after")),
    ]
    statistics = []
    for k in range(3):  # begin() is left out
        statistics.append(model[1].running_mean.clone())
        loss = model(torch.randn(6, 5) + (math.nan if k == 2 else 0.0)).square().sum()
        loss.backward()
        transaction.step(loss, clear=True)
    for handle in handles:
        handle.remove()

    assert isinstance(optimizer._engine, TritonSteps)
    assert called == ["before", "after"] * 3
    assert torch.equal(model[1].running_mean, statistics[2])
    assert not torch.equal(statistics[1], statistics[2])


def test_triton_that_cannot_step_there_is_refused_in_one_line() -> None:
    w = nn.Parameter(torch.ones(2, device="meta"))
    w.grad = torch.ones(2, device="meta")
    with pytest.raises(SettingError, match=r"triton needs .* parameters on a GPU, got meta"):
        Momentum([w], implementation="triton").step()
