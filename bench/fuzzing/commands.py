"""Command lines: every command, with odd values of its options."""

import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from fuzzing.case import Case
from fuzzing.fixtures import Fixtures
from fuzzing.odd import OUTS, text
from fuzzing.oracles import evaluated, predicted, settings_as_typed, trained
from ravine.workflows.landscape_settings import RunSurfaceSettings
from ravine.workflows.recipe import Recipe

_SHORT = ["--model", "wrn-10-1", "--epochs", "1", "--batch", "12", "--device", "cpu", "--threads"]
_SHORT += ["1", "--convolution", "guess"]
_SLOW = {"budget", "epochs", "compile", "model", "image_size", "keep_weights", "along", "nodes"}
_SETTINGS = [name for name in Recipe.model_fields if name != "data"]
_SWITCHES = [name for name in _SETTINGS if Recipe.model_fields[name].annotation is bool]
_NO_SETTINGS = ("out", "recipe", "data", "observers", "progress", "kernels", "allow_code", "quiet")
_NO_SETTINGS += ("json", "self", "settings", "__class__")
_SURFACE = [name for name in RunSurfaceSettings.model_fields if name not in ("budget",)]


def command_case(chance: random.Random, fixtures: Fixtures, folder: Path) -> Case:
    """Returns a command line on a small tree, a run and some odd files."""
    (folder / "tree").symlink_to(fixtures.tree)
    (folder / "file").write_text("x")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    os.mkfifo(folder / "fifo.png")
    kind = chance.choice(
        ["train"] * 4 + ["set"] * 3 + ["models", "function", "predict", "evaluate", "landscape"]
        + ["check", "report", "resume", "diagnose", "words", "race"]
    )  # fmt: skip
    if kind in ("predict", "evaluate", "landscape", "report", "resume", "diagnose"):
        shutil.copytree(fixtures.run, folder / "run")
    words = _WORDS[kind](chance)
    return Case(words=words, wrong=lambda at, text: _wrong(words, at, text))


def _wrong(words: Sequence[str], folder: Path, text: str) -> str | None:
    """Says what is wrong of a command that ended well."""
    if not words:
        return None
    if words[0] == "train":
        return settings_as_typed(words, folder / "new") or trained(folder / "new", text)
    if words[0] == "evaluate":
        return evaluated(text)
    if words[0] == "predict" and not {"--out", "--like"} & set(words):
        return predicted(folder / "predictions.csv")
    return None


def _train(chance: random.Random) -> list[str]:
    words = ["train", chance.choice(["tree"] * 3 + [text(chance)]), "--out", "new", *_SHORT]
    if chance.random() < 0.3:
        words[3] = chance.choice(OUTS)
    for _ in range(chance.randint(1, 2)):
        name = chance.choice(_SETTINGS)
        flag = name.replace("_", "-")
        if name in _SWITCHES:
            words.append(f"--{chance.choice(['', 'no-'])}{flag}")
        elif chance.random() < 0.3:
            words.append(f"--{flag}={text(chance)}")
        else:
            words += [f"--{flag}", text(chance)]
    return words if chance.random() < 0.8 else [*words, "--recipe", text(chance)]


def _set(chance: random.Random) -> list[str]:
    name = chance.choice([*_SETTINGS, *_NO_SETTINGS, text(chance)])
    command = chance.choice(["train", "train", "check", "race"])
    words = [command, "tree", "--set", f"{name}={text(chance)}"]
    if command == "race":
        words += ["--optimizers", "adam,adam", "--jobs", "-1"]
    return [*words, *(_SHORT if command == "train" else [])]


def _models(chance: random.Random) -> list[str]:
    words = ["models", text(chance)]
    return words if chance.random() < 0.5 else [*words, "--image-size", text(chance)]


def _function(chance: random.Random) -> list[str]:
    words = ["race", "--function", chance.choice(["beale", "valley", text(chance)])]
    words += ["--steps", "5", "--trials", "2", "--starts", "2", "--optimizers", "adam", "--quiet"]
    option = chance.choice(
        ["steps", "start", "domain", "starts", "tune", "optimizers", "lr", "out"]
    )
    values = ["1,2", "-1:1,-1:1", "1e400", "0", "-3", "1,2,3", "lr,eps", "adam,", "1e-300"]
    return [*words, f"--{option}={chance.choice([*values, *(OUTS if option == 'out' else ())])}"]


def _predict(chance: random.Random) -> list[str]:
    run = chance.choice(["run", "run", "run/model.safetensors", text(chance)])
    words = ["predict", run, chance.choice(["tree", "tree/across", text(chance)])]
    option = chance.choice(["--out", "--like", "--device", "--precision", "--tta"])
    if option == "--tta":
        return [*words, option]
    return [*words, option, chance.choice(OUTS) if option == "--out" else text(chance)]


def _evaluate(chance: random.Random) -> list[str]:
    run = chance.choice(["run", "run", "run/model.safetensors", text(chance)])
    words = ["evaluate", run, chance.choice(["tree", "tree", text(chance)])]
    option = chance.choice(["--labels", "--device", "--precision"])
    return [*words, option, text(chance)]


def _landscape(chance: random.Random) -> list[str]:
    words = ["landscape", "run", "--nodes", "5", "--images", "6", "--along", "random", "--quiet"]
    name = chance.choice([*_SURFACE, "to", "out"])
    if name == "out":
        return [*words, "--out", chance.choice(OUTS)]
    if name in RunSurfaceSettings.model_fields:
        if RunSurfaceSettings.model_fields[name].annotation is bool:
            return [*words, f"--no-{name.replace('_', '-')}"]
        values = ["0", "-1", "nan", "x", "1e400", "9" * 30, "", "-1:1:3", "1:0:5", "a:b:c", "3,4"]
        return [*words, f"--{name.replace('_', '-')}={chance.choice(values)}"]
    return [*words, "--to", text(chance)]


def _check(chance: random.Random) -> list[str]:
    words = ["check", "tree", "--model", "wrn-10-1", "--no-learn", "--quiet"]
    option = chance.choice(["model", "activation", "norm", "init", "batch", "dropout", "out"])
    if option == "out":
        return [*words, "--out", chance.choice(OUTS)]
    return [*words, f"--{option}={text(chance)}"]


def _of_run(command: str, *options: str) -> "list[str]":
    return [command, *options]


def _report(chance: random.Random) -> list[str]:
    return _of_run("report", chance.choice(["run", ".", text(chance)]))


def _resume(chance: random.Random) -> list[str]:
    return _of_run("resume", chance.choice(["run", "run/", text(chance)]), "--quiet")


def _diagnose(chance: random.Random) -> list[str]:
    words = _of_run("diagnose", chance.choice(["run", text(chance)]), "--rows-only")
    option = chance.choice(["--steps", "--seeds", "--allow-code"])
    return [*words, "--try", option, text(chance)]


def _words(chance: random.Random) -> list[str]:
    known = ["train", "resume", "race", "models", "--help", "--quiet", "--json", "--", "-q", "tree"]
    return [chance.choice([*known, text(chance)]) for _ in range(chance.randint(0, 4))]


def _race(chance: random.Random) -> list[str]:
    words = ["race", "tree", "--jobs", "-1"]
    options = ["optimizers", "vary", "trials", "seeds", "equal", "target", "memory", "limit", "out"]
    name = chance.choice(options)
    values = ["adam", "adam,adam", "x", "init=he", "init=", "lr=true,1", "=", "epochs=1,2", "4G"]
    chosen = chance.choice([*values, text(chance)])
    return [*words, f"--{name}={chance.choice(OUTS) if name == 'out' else chosen}"]


_WORDS = {
    "train": _train,
    "set": _set,
    "models": _models,
    "function": _function,
    "predict": _predict,
    "evaluate": _evaluate,
    "landscape": _landscape,
    "check": _check,
    "report": _report,
    "resume": _resume,
    "diagnose": _diagnose,
    "words": _words,
    "race": _race,
}
