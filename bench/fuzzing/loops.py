"""A stranger's own loop: optimizers, transactions, schedules and checks on odd tensors.

The parameters keep being finite where gradients and settings are, and a step that is not finite
leaves them as they were: a case looks, and says in words what is wrong.
"""

import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

import ravine
from fuzzing.case import Case, Wrong
from fuzzing.fixtures import Fixtures
from ravine.core.errors import RavineError
from ravine.optim.optimizers import OPTIMIZERS

_NUMBERS: tuple[Any, ...] = (
    0.0, 1e-3, 0.1, 1.0, -1.0, math.nan, math.inf, 1e-320, 1e308, True, None, "0.1", 2**70,
)  # fmt: skip
_SHAPES = ((), (0,), (1,), (3, 0, 2), (5, 3), (2, 3, 3, 3), (4097,))
# torch tells of shapes and types that do not fit by a RuntimeError.
_REFUSALS = (RavineError, TypeError, ValueError, RuntimeError)


def loop_case(chance: random.Random, _: Fixtures, _folder: Path) -> Case:
    """Returns a few steps of a loop, or a check of one."""
    name = chance.choice(list(_LOOPS))
    call, words = _LOOPS[name](chance)
    return Case(words=[name, *words], call=call, refusals=_REFUSALS)


def _parameter(chance: random.Random) -> nn.Parameter:
    torch.manual_seed(chance.randrange(1000))
    kind = chance.choice((torch.float32,) * 4 + (torch.float64, torch.bfloat16, torch.float16))
    values = torch.randn(chance.choice(_SHAPES)).to(kind)
    if values.dim() == 4 and chance.random() < 0.5:
        values = values.to(memory_format=torch.channels_last)
    if values.dim() == 2 and chance.random() < 0.3:
        values = values.t()
    return nn.Parameter(values)


def _gradient(chance: random.Random, parameter: nn.Parameter) -> torch.Tensor | None:
    odd = chance.random()
    if odd < 0.1:
        return None
    found = torch.randn_like(parameter)
    if odd < 0.2:
        found = found * chance.choice((math.nan, math.inf, 0.0, 1e30))
    if odd > 0.9 and found.dim() == 2:
        found = found.to_sparse()
    return found


def _optimizer(chance: random.Random, parameters: Any) -> Callable[[], Any]:
    name = chance.choice(list(OPTIMIZERS))
    row = OPTIMIZERS[name]
    options = {"lr": chance.choice(_NUMBERS) if chance.random() < 0.4 else 0.01}
    if chance.random() < 0.3:
        options[chance.choice(("weight_decay", "momentum", "eps", "betas"))] = chance.choice(
            (*_NUMBERS, (0.9, 0.999), (1.0, 1.0), (0.9,), (-1, 2))
        )
    module, _, kind = row.path.partition(":")
    made = getattr(__import__(module, fromlist=[kind]), kind)
    return lambda: made(parameters, **options)


def _steps(chance: random.Random) -> tuple[Callable[[], object], list[str]]:
    parameters = [_parameter(chance) for _ in range(chance.randint(0, 3))]
    gradients = [[_gradient(chance, one) for one in parameters] for _ in range(2)]
    build = _optimizer(chance, parameters)
    clip = chance.choice((None, None, 1.0, 0.0, -1.0, math.nan, "x"))
    by = chance.choice(("norm", "value", "agc", "x"))

    def call() -> None:
        optimizer = build()
        step = ravine.optim.Transaction(optimizer, clip=clip, clip_by=by).step
        for of_step in gradients:
            before = [one.detach().clone() for one in parameters]
            for one, gradient in zip(parameters, of_step, strict=True):
                one.grad = gradient
            step()
            given = [g for g in of_step if g is not None and not g.is_sparse]
            if all(bool(g.isfinite().all()) for g in given):
                continue
            same = all(torch.equal(a, b) for a, b in zip(before, parameters, strict=True))
            if not same:
                raise Wrong("a step whose gradients are not finite moved a parameter")

    return call, [f"{len(parameters)} parameters", f"clip={clip!r}", by]


def _states(chance: random.Random) -> tuple[Callable[[], object], list[str]]:
    parameters = [_parameter(chance) for _ in range(2)]
    build = _optimizer(chance, parameters)
    kind = chance.choice(("empty", "shapes", "gone", "text"))

    def call() -> None:
        optimizer = build()
        for one in parameters:
            one.grad = torch.ones_like(one)
        optimizer.step()
        state = optimizer.state_dict()
        if kind == "empty":
            state = {}
        elif kind == "shapes":
            for values in state["state"].values():
                for name in values:
                    values[name] = torch.zeros(7, 7)
        elif kind == "gone":
            state["state"].popitem()
        else:
            state["param_groups"] = "x"
        optimizer.load_state_dict(state)
        optimizer.step()

    return call, [kind]


def _schedules(chance: random.Random) -> tuple[Callable[[], object], list[str]]:
    steps = chance.choice((0, 1, 5, -1, 2**70, 1.5, "3", None))
    share = chance.choice(_NUMBERS)

    def call() -> None:
        schedules = ravine.schedules
        curve = schedules.with_warmup(schedules.cosine, share=share)
        optimizer = ravine.optim.Momentum([nn.Parameter(torch.ones(2))], lr=0.1)
        scheduler = schedules.Scheduler(optimizer, steps=steps, lr=curve)
        for step in range(3):
            scheduler.set(step)
        rate = optimizer.param_groups[0]["lr"]
        if not math.isfinite(rate):
            raise Wrong(f"the learning rate is {rate}")

    return call, [repr(steps), repr(share)]


def _checks(chance: random.Random) -> tuple[Callable[[], object], list[str]]:
    images = torch.randn(6, 3, 8, 8) * chance.choice((1, 1, 0, math.nan, 1e30, 255))
    labels: torch.Tensor = torch.arange(6) % 3
    labels = chance.choice((labels, labels, labels - 1, labels + 100, labels.float(), labels[:4]))
    batches = chance.choice(([(images, labels)], [(images, labels)], [], [images], [()], [None]))
    end = chance.choice((nn.Linear(4, 3), nn.Linear(5, 3), nn.Identity(), nn.Softmax(1)))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), end)

    def call() -> object:
        return ravine.check(model, nn.functional.cross_entropy, batches)

    return call, [str(tuple(images.shape)), str(labels)[:60], str(len(batches)), str(end)[:60]]


_LOOPS: Mapping[str, Callable[[random.Random], tuple[Callable[[], object], list[str]]]] = {
    "steps": _steps,
    "states": _states,
    "schedules": _schedules,
    "checks": _checks,
}
