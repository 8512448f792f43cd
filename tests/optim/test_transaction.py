import math
from statistics import median

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ravine.core.errors import SettingError
from ravine.optim import AdaGrad, Adam, AdaptiveClip, Momentum, Nadam, RMSProp, Transaction

every = pytest.mark.parametrize("make", [Momentum, AdaGrad, RMSProp, Adam, Nadam])
paths = pytest.mark.parametrize("implementation", ["plain", "auto"])


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    )


def _bits(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    state = [value for slots in optimizer.state.values() for value in slots.values()]
    return [value.detach().clone() for value in [*model.state_dict().values(), *state]]


def _step(model: nn.Module, transaction: Transaction, *, poison: float | None = None) -> None:
    transaction.begin()
    loss = F.cross_entropy(model(torch.rand(8, 1, 8, 8)), torch.arange(8) % 3)
    loss.backward()
    if poison is not None:
        model[0].weight.grad[0, 0, 0, 0] = poison  # type: ignore[index]
    transaction.step(loss, clear=True)


@every
@paths
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_step_that_is_not_finite_leaves_everything_bitwise(make, implementation, poison) -> None:  # type: ignore[no-untyped-def]
    model = _network()
    optimizer = make(model.parameters(), weight_decay=0.01, implementation=implementation)
    transaction = Transaction(optimizer, model, clip=1.0)
    for _ in range(3):
        _step(model, transaction)
    before = _bits(model, optimizer)
    _step(model, transaction, poison=poison)
    after = _bits(model, optimizer)
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    assert transaction.report() == (
        f"4 steps, {int(transaction.clipped)} clipped, 1 skipped: "
        "first step 3, where the gradient of 0.weight was not finite"
    )
    _step(model, transaction)
    assert [int(transaction.attempted), int(transaction.skipped), int(transaction.streak)] == [
        5,
        1,
        0,
    ]
    assert {int(slots["step"]) for slots in optimizer.state.values()} == {4}
    assert all(p.grad is None for p in model.parameters())


@paths
def test_a_loss_that_is_not_finite_is_named(implementation: str) -> None:
    w = nn.Parameter(torch.ones(2))
    w.grad = torch.ones(2)
    transaction = Transaction(Momentum([w], implementation=implementation))  # type: ignore[arg-type]
    transaction.step(torch.tensor(math.inf))
    assert w.tolist() == [1.0, 1.0]
    assert transaction.report().endswith("where the loss was not finite")


@paths
@settings(deadline=None, max_examples=30)
@given(exponent=st.integers(-30, 37), limit=st.floats(1e-3, 1e3))
def test_clipping_follows_the_norm_in_double_precision(
    implementation: str, exponent: int, limit: float
) -> None:
    w, b = nn.Parameter(torch.zeros(300)), nn.Parameter(torch.zeros(7))
    w.grad = 10.0**exponent * torch.linspace(-1, 2, 300)
    b.grad = 10.0**exponent * torch.ones(7)
    kept = w.grad.clone()
    transaction = Transaction(
        Momentum([w, b], lr=1.0, momentum=0.0, implementation=implementation),  # type: ignore[arg-type]
        clip=limit,
    )
    decision = transaction.step(torch.tensor(0.0))
    whole = torch.cat([w.grad, b.grad]).double()
    norm = float(whole.norm())
    assert float(decision.norm) == pytest.approx(norm, rel=1e-6)
    assert torch.equal(w.grad, kept)
    expected = -whole * min(1.0, limit / norm)
    torch.testing.assert_close(torch.cat([w, b]).detach().double(), expected, rtol=1e-5, atol=1e-36)
    assert int(transaction.clipped) == (norm > limit)
    assert transaction.norms() == pytest.approx(
        {
            "group 0, tensor 0": float(whole[:300].norm()),
            "group 0, tensor 1": float(whole[300:].norm()),
        },
        rel=1e-6,
    )


@pytest.mark.parametrize("clip_by", ["value", "agc"])
def test_other_ways_of_clipping_are_the_same_on_both_paths(clip_by: str) -> None:
    ends = []
    for implementation in ("plain", "auto"):
        model = _network()
        optimizer = Adam(model.parameters(), 0.01, implementation=implementation)  # type: ignore[arg-type]
        transaction = Transaction(optimizer, model, clip=0.01, clip_by=clip_by)  # type: ignore[arg-type]
        torch.manual_seed(1)
        for _ in range(3):
            _step(model, transaction)
        ends.append(model[0].weight.detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-6)


@given(
    st.lists(st.floats(1e-20, 1e20), min_size=3, max_size=60),
    st.lists(st.sampled_from([math.nan, math.inf]), max_size=5),
)
@settings(deadline=None)
def test_the_adaptive_limit_is_the_robust_one_whatever_comes_between(
    norms: list[float], poison: list[float]
) -> None:
    clip = AdaptiveClip(z=3.0, window=16, least=3)
    for norm in [*poison, *norms, *poison]:
        clip.record(torch.tensor(norm, dtype=torch.float64))
    logs = sorted(math.log(norm) for norm in norms[-16:])
    m = logs[(len(logs) - 1) // 2]  # the lower of two in the middle, as torch has it
    distances = sorted(abs(one - m) for one in logs)
    σ = max(0.05, 1.4826 * distances[(len(distances) - 1) // 2])
    assert float(clip.limit().log()) == pytest.approx(m + 3.0 * σ, rel=1e-9, abs=1e-9)
    assert median(logs) >= m


def test_an_adaptive_clip_waits_and_then_cuts_a_spike_and_survives_nan() -> None:
    w = nn.Parameter(torch.zeros(4))
    clip = AdaptiveClip(z=4.0, least=5)
    transaction = Transaction(Momentum([w], lr=1.0, momentum=0.0), clip=clip)
    assert float(clip.limit()) == math.inf
    for norm in [1.0, 1.1, 0.9, 1.0, 1.05, math.nan, 0.95]:
        w.grad = torch.full((4,), norm / 2)
        transaction.step(torch.tensor(0.0))
    assert int(transaction.clipped) == 0
    before = w.detach().clone()
    w.grad = torch.full((4,), 500.0)
    transaction.step(torch.tensor(0.0))
    assert 1.0 < float((w.detach() - before).norm()) < 2.0
    assert [int(transaction.clipped), int(transaction.skipped)] == [1, 1]


def test_sparse_gradients_are_taken_as_the_dense_ones_that_they_stand_for() -> None:
    for make in (AdaGrad, lambda p, **o: Momentum(p, nesterov=True, **o)):
        ends = []
        for sparse in (False, True):
            torch.manual_seed(0)
            layer, dense = nn.Embedding(6, 3, sparse=sparse), nn.Linear(3, 1)
            optimizer = make([*layer.parameters(), *dense.parameters()], lr=0.1)
            transaction = Transaction(optimizer, clip=0.5)
            for rows in ([1, 1, 4], [0, 4], [2]):
                loss = dense(layer(torch.tensor(rows))).square().sum()
                loss.backward()
                transaction.step(loss, clear=True)
            ends.append(layer.weight.detach())
        torch.testing.assert_close(ends[0], ends[1], rtol=1e-5, atol=1e-7)


def test_sparse_gradients_and_decay_are_refused_in_one_line() -> None:
    layer = nn.Embedding(4, 2, sparse=True)
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(SettingError, match=r"weight_decay 0\.1 would change every row"):
        AdaGrad(layer.parameters(), weight_decay=0.1).step()


def test_a_clip_that_makes_no_sense_is_refused() -> None:
    optimizer = Momentum([nn.Parameter(torch.ones(1))])
    with pytest.raises(SettingError, match="clip"):
        Transaction(optimizer, clip=0.0)
    with pytest.raises(SettingError, match="limits the norm"):
        Transaction(optimizer, clip=AdaptiveClip(), clip_by="agc")
    with pytest.raises(SettingError, match="clip_by"):
        Transaction(optimizer, clip=1.0, clip_by="size")  # type: ignore[arg-type]
