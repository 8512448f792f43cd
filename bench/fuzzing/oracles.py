"""What is right, of commands that ended well: each function says what is wrong, or None."""

import csv
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_WORDS_OF_BOOL = {"true", "false", "on", "off", "yes", "no", "t", "f", "y", "n"}


def settings_as_typed(words: Sequence[str], run: Path) -> str | None:
    """Compares the options of a training with the recipe that it kept."""
    try:
        recipe = tomllib.loads((run / "recipe.toml").read_text())
    except OSError:
        return None
    for name, text in _typed(words).items():
        found = recipe.get(name)
        if found is not None and not _same(text, found):
            return f"--{name} {text[:80]!r} became {found!r}"
    return None


def _typed(words: Sequence[str]) -> Mapping[str, str]:
    """Returns the settings of a command line with their last texts."""
    found: dict[str, str] = {}
    for at, word in enumerate(words):
        if word == "--set" and at + 1 < len(words):
            name, _, text = words[at + 1].partition("=")
            found[name] = text
        elif word.startswith("--"):
            name, mark, text = word[2:].partition("=")
            following = words[at + 1] if at + 1 < len(words) else ""
            found[name.replace("-", "_")] = text if mark else following
    return found


def _same(text: str, found: Any) -> bool:
    """Returns whether a setting is what was typed, as far as its type tells."""
    if isinstance(found, bool):
        return text.strip().lower() in (*_WORDS_OF_BOOL, "0", "1") or text.startswith("--")
    if isinstance(found, int | float):
        if text.strip().lower() in _WORDS_OF_BOOL:
            return False
        number = _NUMBER.fullmatch(text.strip())
        return number is None or float(text) == found
    if isinstance(found, str):
        return text.strip().lower() == found.strip().lower() or not found or bool(text)
    return True


def trained(run: Path, text: str) -> str | None:
    """Looks at the weights of a training that has ended, unless it says that it is broken."""
    path = run / "model.safetensors"
    if not path.is_file() or "not finite" in text:
        return None
    for name, values in load_file(path).items():
        if values.is_floating_point() and not bool(values.isfinite().all()):
            return f"{name} of the trained network is not finite"
    return None


def resumed_alike(run: Path, whole: Path, text: str) -> str | None:
    """Compares a run that was gone on with, with the one that was never stopped.

    Other bits are right only where a warning says so.
    """
    path = run / "model.safetensors"
    if not path.is_file() or "no longer bitwise" in text:
        return None
    found, expected = load_file(path), load_file(whole / "model.safetensors")
    if found.keys() != expected.keys():
        return "the resumed network has other tensors"
    other = [name for name, values in expected.items() if not torch.equal(values, found[name])]
    return f"resumed with other weights, and no word of it: {other[:3]}" if other else None


def predicted(path: Path, images: int | None = None) -> str | None:
    """Looks at a table of predictions: finite shares that sum to 1, the class of the largest."""
    if not path.is_file():
        return "no table was written"
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    if images is not None and len(rows) != images:
        return f"{len(rows)} rows of {images} images"
    if len({row[0] for row in rows}) != len(rows):
        return "an image has two rows"
    for row in rows:
        shares = dict(zip(header[3:], map(float, row[3:]), strict=True))
        if not all(map(math.isfinite, shares.values())):
            return f"shares that are not finite: {row}"
        if shares and abs(sum(shares.values()) - 1) > 1e-3:
            return f"shares that do not sum to 1: {row}"
        if shares and shares.get(row[1], -1.0) < max(shares.values()) - 1e-6:
            return f"{row[1]} is not the class of the largest share: {row}"
    return None


def evaluated(text: str) -> str | None:
    """Looks at the lines of an evaluation."""
    if re.search(r"\bloss (nan|inf)\b", text):
        return "a loss that is not finite, without a refusal"
    share = re.search(r"accuracy (-?[\d.]+) ?%", text)
    if share is not None and not 0 <= float(share[1]) <= 100:
        return f"an accuracy of {share[1]} %"
    return None


def reported(run: Path) -> str | None:
    """Looks into a report for what lies outside of the run folder."""
    path = run / "report.html"
    if path.is_symlink():
        return "the report was written through a link" if path.exists() else None
    secret = Path("/etc/hostname").read_text().strip()
    if path.is_file() and secret and f">{secret}<" in path.read_text(errors="replace"):
        return "the content of a linked file is in the report"
    return None


def of_command(words: Sequence[str], run: Path, whole: Path, text: str) -> str | None:
    """Looks at what a command left of or in `run`; `whole` is the run that nothing happened to."""
    if words[0] == "resume":
        return resumed_alike(run, whole, text)
    if words[0] == "evaluate":
        return evaluated(text)
    if words[0] == "predict":
        return predicted(run.parent / "predictions.csv")
    if words[0] == "report":
        return reported(run)
    return None


def of_data(words: Sequence[str], folder: Path, text: str) -> str | None:
    """Looks at what a short training, or a prediction, on odd data left in the case's folder."""
    if words[0] == "train":
        return trained(folder / "new", text)
    if words[0] == "predict":
        return predicted(folder / "predictions.csv")
    return evaluated(text)
