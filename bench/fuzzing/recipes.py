"""recipe.toml with odd values, from which a run is trained, repeated or gone on with."""

import random
import shutil
from pathlib import Path
from typing import Any

import tomli_w

from fuzzing.case import Case
from fuzzing.fixtures import Fixtures
from fuzzing.odd import nested, value
from fuzzing.oracles import resumed_alike, trained
from ravine.runs.recipe_file import read_recipe

_TEXTS = (
    "", "x", "[", "a = ", "lr = 0.1\nlr = 0.2", "epochs = 1e308", "dropout = " + "9" * 400,
    "lr = " + "9" * 5000, "lr = " + nested(5000), "a" * 10**6, 'device = "meta"', "\0",
    'labels = "a\\u0000b"', "seed = 9223372036854775808", "[plan]\ntotal_steps = 1", "lr = true",
    "plan = 3", "[[plan]]\na = 1", 'model = "swift-99999999"', "epochs = inf", "epochs = nan",
)  # fmt: skip
_KEPT = ("epochs", "budget", "model", "image_size", "compile", "batch", "keep_weights")


def recipe_case(chance: random.Random, fixtures: Fixtures, folder: Path) -> Case:
    """Returns a command that reads a recipe."""
    settings, plan = read_recipe(fixtures.run / "recipe.toml")
    settings["data"] = str(fixtures.tree)
    if chance.random() < 0.3:
        text = chance.choice(_TEXTS).encode()
        if chance.random() < 0.5:
            text = tomli_w.dumps(settings).encode() + b"\n" + text
    else:
        text = tomli_w.dumps(_changed(chance, settings, plan or {})).encode()
    if chance.random() < 0.1:
        text = text.replace(b"e", b"\xff", 1)
    if chance.random() < 0.5:
        (folder / "x.toml").write_bytes(text)
        return Case(
            words=["train", "--recipe", "x.toml", "--quiet", "--out", "new"],
            wrong=lambda at, text: trained(at / "new", text),
        )
    shutil.copytree(fixtures.half, folder / "half")
    (folder / "half" / "recipe.toml").write_bytes(text)

    def wrong(at: Path, text: str) -> str | None:
        return resumed_alike(at / "half", fixtures.run, text)

    return Case(words=["resume", "half", "--quiet"], wrong=wrong)


def _changed(
    chance: random.Random, settings: dict[str, Any], plan: dict[str, Any]
) -> dict[str, Any]:
    """Returns the recipe with some settings changed; what would make it slow is left alone."""
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(list(settings))
        odd = value(chance)
        if name in _KEPT and isinstance(odd, int | float) and odd > 0:
            odd = -odd
        if isinstance(odd, int) and abs(odd) >= 2**63:
            odd = str(odd)
        settings[name] = odd
    if chance.random() < 0.3 and plan:
        name = chance.choice(list(plan))
        odd = value(chance)
        large = isinstance(odd, int) and not isinstance(odd, bool) and odd > 100
        plan[name] = -1 if large else odd
    return {**settings, "plan": plan} if chance.random() < 0.8 else settings
