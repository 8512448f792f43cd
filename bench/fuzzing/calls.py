"""The Python API: public calls with odd arguments. A mistake is one of Ravine's own errors."""

import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

import ravine
from fuzzing.case import Case, Wrong
from fuzzing.fixtures import SETTINGS, Fixtures
from ravine.workflows.recipe import Recipe

_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 3, 2**70, 0.5, -0.5, math.nan, math.inf, 1e400, "", "x", "adam", "0.1",
    b"x", [], [1], ("a", "b"), {}, {"a": 1}, Path("nowhere"), Path(), object(), torch.zeros(2),
    "a" * 500, "\0", "é", range(3), 1j,
)  # fmt: skip
_SLOW = {"epochs", "budget", "model", "image_size", "compile", "out", "data"}
_SETTINGS = [name for name in Recipe.model_fields if name not in _SLOW]


def call_case(chance: random.Random, fixtures: Fixtures, _folder: Path) -> Case:
    """Returns one call of the public API."""
    name = chance.choice(list(_CALLS))
    call, words = _CALLS[name](chance, fixtures)
    return Case(words=[name, *words], call=call)


def _train(chance: random.Random, fixtures: Fixtures) -> tuple[Callable[[], object], list[str]]:
    chosen = {chance.choice(_SETTINGS): chance.choice(_ODD) for _ in range(chance.randint(1, 2))}
    given: dict[str, Any] = {**SETTINGS, "epochs": 0.2, "show": "none", **chosen}
    data = chance.choice(_ODD) if chance.random() < 0.2 else fixtures.tree
    return lambda: ravine.train(data, out="new", **given), [repr(data)[:80], repr(chosen)[:200]]


def _of_run(name: str) -> Callable[..., tuple[Callable[[], object], list[str]]]:
    def made(chance: random.Random, fixtures: Fixtures) -> tuple[Callable[[], object], list[str]]:
        odd = chance.choice(_ODD)
        run = odd if chance.random() < 0.7 else fixtures.run
        return lambda: getattr(ravine, name)(run), [repr(run)[:80]]

    return made


def _predict(chance: random.Random, fixtures: Fixtures) -> tuple[Callable[[], object], list[str]]:
    odd = chance.choice((*_ODD, torch.zeros(2, 3, 8, 8), torch.full((3, 8, 8), math.nan)))

    def call() -> None:
        found = ravine.Run.load(fixtures.run).predict(odd)
        if isinstance(found, torch.Tensor) and not bool(found.isfinite().all()):
            raise Wrong("predictions that are not finite")

    return call, [repr(odd)[:80]]


def _load(chance: random.Random, _: Fixtures) -> tuple[Callable[[], object], list[str]]:
    odd = chance.choice(_ODD)
    return lambda: ravine.Run.load(odd), [repr(odd)[:80]]


def _build(chance: random.Random, _: Fixtures) -> tuple[Callable[[], object], list[str]]:
    names = ("wrn-10-1", "resnet-cifar-8", "swift-1", "wrn-10-1000000", "", "x", "-1")
    name = chance.choice((*names, *_ODD))
    classes = chance.choice((3, 3, 0, -1, 1.5, "3", None, 2**40))
    settings = {chance.choice(("channels", "activation", "norm", "dropout")): chance.choice(_ODD)}
    words = [repr(name)[:80], repr(classes), repr(settings)[:120]]

    def call() -> None:
        model = ravine.models.build(name, classes=classes, **settings).eval()
        channels = settings.get("channels", 3)
        with torch.no_grad():
            shape = tuple(model(torch.zeros(2, channels, 32, 32)).shape)
        if shape != (2, classes):
            raise Wrong(f"a network for {classes} classes gives {shape}")

    return call, words


_CALLS: Mapping[str, Callable[..., tuple[Callable[[], object], list[str]]]] = {
    "train": _train,
    "resume": _of_run("resume"),
    "verify": _of_run("verify"),
    "Run.load": _load,
    "Run.predict": _predict,
    "models.build": _build,
}
