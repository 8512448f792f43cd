"""The scheduler against torch's own, where they agree, and where torch's go wrong."""

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop, lr_scheduler

import ravine.optim
from ravine.core.errors import SettingError
from ravine.schedules import (
    SCHEDULES,
    Absolute,
    Scheduler,
    between,
    constant,
    cosine,
    level,
    linear,
    mirrored_cycle,
    one_cycle,
    step,
    with_floor,
    with_warmup,
)

STEPS = 200
OPTIMIZERS: list[Callable[..., Optimizer]] = [
    *(SGD, Adam, AdamW, RMSprop, torch.optim.NAdam, torch.optim.Adagrad, torch.optim.Rprop),
    *(ravine.optim.Momentum, ravine.optim.Adam, ravine.optim.Nadam, ravine.optim.RMSProp),
    ravine.optim.AdaGrad,
]


def weights(count: int = 1) -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2)) for _ in range(count)]


def rates_of_torch(make: Callable[[Optimizer], Any], *, key: str = "lr") -> list[float]:
    """Returns what one of torch's schedulers sets at each step from 0 to STEPS."""
    optimizer = SGD(weights(), lr=0.3, momentum=0.9)
    scheduler, seen = make(optimizer), []
    for _ in range(STEPS + 1):
        seen.append(optimizer.param_groups[0][key])
        optimizer.step()
        if scheduler.last_epoch < STEPS:
            scheduler.step()
    return seen


def rates_of_ours(*, key: str = "lr", **curves: Any) -> list[float]:
    optimizer = SGD(weights(), lr=0.3, momentum=0.9)
    scheduler, seen = Scheduler(optimizer, steps=STEPS, **curves), []
    for k in range(STEPS + 1):
        scheduler.set(k)
        seen.append(optimizer.param_groups[0][key])
    return seen


cycle_of_torch = partial(
    lr_scheduler.OneCycleLR,
    max_lr=0.3,
    total_steps=STEPS + 1,
    pct_start=(0.2 * STEPS + 1) / (STEPS + 1),  # torch's peak stands at share·total − 1
    anneal_strategy="linear",
    div_factor=25,
    final_div_factor=1e12,
)


@pytest.mark.parametrize(
    ("curve", "make"),
    [
        (cosine, lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS)),
        (
            with_floor(cosine, floor=0.1),
            lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.03),
        ),
        (linear, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=STEPS)),
        (step, lambda o: lr_scheduler.MultiStepLR(o, [60, 120, 160], gamma=0.2)),
        (constant, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        (one_cycle, cycle_of_torch),
    ],
    ids=["cosine", "cosine with a floor", "linear", "step", "constant", "one-cycle"],
)
def test_the_rate_is_that_of_torchs_scheduler(
    curve: Callable[[float], float], make: Callable[[Optimizer], Any]
) -> None:
    assert rates_of_ours(lr=curve) == pytest.approx(rates_of_torch(make), rel=1e-9, abs=1e-12)


def test_momentum_mirrors_the_one_cycle_rate_as_in_torch() -> None:
    expected = rates_of_torch(
        partial(cycle_of_torch, base_momentum=0.85, max_momentum=0.95), key="momentum"
    )
    absolute = rates_of_ours(momentum=between(0.85, 0.95, mirrored_cycle), key="momentum")

    assert absolute == pytest.approx(expected, rel=1e-12)


curves = st.sampled_from([*SCHEDULES.values(), with_warmup(cosine, share=0.1), mirrored_cycle])


@given(curves, st.lists(st.integers(0, 3 * STEPS), min_size=1, max_size=8))
def test_the_values_follow_from_the_step_alone(
    curve: Callable[[float], float], order: list[int]
) -> None:
    def values(optimizer: Optimizer) -> list[tuple[float, ...]]:
        return [(g["lr"], *g["betas"], g["weight_decay"]) for g in optimizer.param_groups]

    def make() -> tuple[Optimizer, Scheduler]:
        groups = [{"params": weights()}, {"params": weights(), "lr": 0.01}]
        optimizer = AdamW(groups, lr=0.1, weight_decay=0.05)
        momentum = between(0.85, 0.95, curve)
        return optimizer, Scheduler(
            optimizer, steps=STEPS, lr=curve, momentum=momentum, weight_decay=curve
        )

    walked, scheduler = make()
    for k in [*order, order[-1]]:
        scheduler.set(k)
    fresh, another = make()
    another.set(order[-1])

    assert values(walked) == values(fresh)


@given(curves, st.integers(STEPS, 10**9))
def test_beyond_the_last_step_everything_stays_as_at_the_end(
    curve: Callable[[float], float], k: int
) -> None:
    # torch's CosineAnnealingLR rises again here.
    optimizer = SGD(weights(), lr=0.3)
    scheduler = Scheduler(optimizer, steps=STEPS, lr=curve)
    scheduler.set(k)

    assert optimizer.param_groups[0]["lr"] == 0.3 * curve(1.0)


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_every_optimizer_takes_the_hyperparameters_it_has(make: Callable[..., Optimizer]) -> None:
    optimizer = make(weights(), lr=0.2)
    group = optimizer.param_groups[0]
    wanted = {"lr": level(0.5)}
    wanted |= {"momentum": level(0.5)} if {"momentum", "betas"} & set(group) else {}
    wanted |= {"alpha": level(0.5)} if {"alpha", "betas"} & set(group) else {}
    before = copy.deepcopy({k: v for k, v in group.items() if k != "params"})
    Scheduler(optimizer, steps=10, **wanted).set(3)

    expected = {**before, "lr": 0.1}
    if "betas" in before:
        expected["betas"] = tuple(beta / 2 for beta in before["betas"])
    for name in {"momentum", "alpha"} & set(before):
        expected[name] = before[name] / 2
    assert {k: v for k, v in group.items() if k != "params"} == expected
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()


def test_factors_keep_the_ratios_of_the_groups_and_absolute_curves_do_not() -> None:
    groups = [{"params": weights(), "lr": lr} for lr in (0.4, 0.1)]
    optimizer = SGD(groups, lr=1.0)
    Scheduler(optimizer, steps=10, lr=linear).set(5)
    assert [g["lr"] for g in optimizer.param_groups] == [0.2, 0.05]

    Scheduler(optimizer, steps=10, lr=between(0.0, 0.8, linear)).set(5)
    assert [g["lr"] for g in optimizer.param_groups] == [0.4, 0.4]


def test_groups_without_decay_are_spared_by_an_absolute_curve() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    groups = ravine.optim.parameter_groups(model, weight_decay=0.05)
    optimizer = AdamW(groups, lr=0.1)
    scheduler = Scheduler(optimizer, steps=10, weight_decay=between(0.02, 0.4, linear))
    scheduler.set(0)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.4, 0.0]
    scheduler.set(10)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.02, 0.0]

    with pytest.raises(SettingError, match="weight_decay is 0 in every group"):
        Scheduler(SGD(weights(), lr=0.1), steps=10, weight_decay=between(0.0, 0.1, linear))


def test_a_tensor_is_filled_where_it_lies_and_its_base_is_kept() -> None:
    # torch's SequentialLR lets the tensor and its base be one, and loses the base.
    rate = torch.tensor(0.5)
    optimizer = Adam(weights(), lr=rate, foreach=False, capturable=False)
    scheduler = Scheduler(optimizer, steps=10, lr=linear)
    for k in (9, 5, 5, 0):
        scheduler.set(k)
        assert optimizer.param_groups[0]["lr"] is rate
        assert float(rate) == pytest.approx(0.5 * (1 - k / 10))


def test_a_resumed_loop_ends_bitwise_like_one_that_was_not() -> None:
    def begin() -> tuple[list[nn.Parameter], Optimizer, Scheduler]:
        held = weights(2)
        groups = [{"params": held[:1]}, {"params": held[1:], "lr": 0.02}]
        optimizer = ravine.optim.Nadam(groups, lr=0.1, weight_decay=0.1)
        scheduler = Scheduler(
            optimizer,
            steps=20,
            lr=with_warmup(cosine, share=0.2),
            momentum=between(0.8, 0.95, mirrored_cycle),
            weight_decay=linear,
        )
        return held, optimizer, scheduler

    def go(first: int, last: int, held: Any, optimizer: Optimizer, scheduler: Scheduler) -> None:
        for k in range(first, last):
            scheduler.set(k)
            for w in held:
                w.grad = torch.sin(w.detach() + k)
            optimizer.step()

    whole = begin()
    go(0, 20, *whole)
    first = begin()
    go(0, 7, *first)
    saved = copy.deepcopy(first[1].state_dict())
    second = begin()
    second[2].set(0)  # loading puts new groups in place of those that were set here
    for w, old in zip(second[0], first[0], strict=True):
        w.data.copy_(old.data)
    second[1].load_state_dict(saved)
    go(7, 20, *second)

    assert all(torch.equal(a, b) for a, b in zip(whole[0], second[0], strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 10, "momentun": linear}, "did you mean 'momentum'.*Known: lr, momentum"),
        ({"steps": 10, "betas": linear}, "unknown hyperparameter 'betas'"),
        ({"steps": 10, "alpha": linear}, "unknown hyperparameter 'alpha'"),
        ({"steps": 10, "nesterov": linear}, "unknown hyperparameter 'nesterov'"),
        ({"steps": 0, "lr": linear}, "steps must be in"),
    ],
)
def test_what_cannot_be_scheduled_is_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Scheduler(SGD(weights(), lr=0.1, momentum=0.9), **arguments)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        ({"momentum": between(0.5, 1.0, linear)}, r"momentum must be in \[0, 1\), got 1"),
        ({"lr": lambda p: p - 1}, "lr must be in .*got -0.1"),
        ({"lr": lambda p: math.nan}, "lr must be in .*got nan"),
        ({"dampening": Absolute(lambda p: math.inf)}, "dampening must be in .*got inf"),
    ],
)
def test_a_curve_that_leaves_the_range_is_told_and_sets_nothing(
    curve: dict[str, Any], message: str
) -> None:
    optimizer = SGD(weights(), lr=0.1, momentum=0.9)
    before = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
    with pytest.raises(SettingError, match=message):
        Scheduler(optimizer, steps=10, **curve).set(0)
    assert {k: v for k, v in optimizer.param_groups[0].items() if k != "params"} == before


def test_a_negative_step_and_a_new_group_are_told() -> None:
    optimizer = SGD(weights(), lr=0.1)
    scheduler = Scheduler(optimizer, steps=10, lr=linear)
    with pytest.raises(SettingError, match="step must be in"):
        scheduler.set(-1)
    optimizer.add_param_group({"params": weights()})
    with pytest.raises(SettingError, match="make it anew after adding groups"):
        scheduler.set(1)
