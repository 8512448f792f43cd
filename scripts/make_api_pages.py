"""Writes docs/api/: a page for each room with public names, in the form that mkdocstrings reads.

    make map

The names are those of the packages' `__all__`; where each is defined is asked of Python, so that
no list of names is kept by hand.
"""

import inspect
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

PAGES = Path(__file__).resolve().parent.parent / "docs" / "api"
ROOMS = {
    "optim": "Optimizers",
    "nn": "Layers and initial weights",
    "schedules": "Schedules",
    "models": "Networks",
    "landscapes": "Loss surfaces",
}
TRAINING = [
    "train", "resume", "verify", "Run", "race", "Race", "export", "RavineError", "SettingError",
    "DataError", "RunError", "TrainingDiverged", "Interrupted",
]  # fmt: skip
DIAGNOSIS = ["check", "Monitor"]
FRONT_DOOR = {"training": ("Training and runs", TRAINING), "diagnosis": ("Diagnosis", DIAGNOSIS)}
# What the calls of the front door return, which is no name of its own there.
RETURNED = {
    "training": [
        "ravine.workflows.run.Predictions",
        "ravine.workflows.recipe_types.RecipeSettings",
        "ravine.exports.proof.Proof",
    ],
    "diagnosis": ["ravine.findings.finding.Finding", "ravine.findings.finding.Findings"],
}


def place_of(package: str, name: str) -> str | None:
    """Returns the dotted path at which a public function or class is defined; None for values."""
    found = getattr(import_module(package), name)
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        return None
    return f"{found.__module__}.{found.__qualname__}"


def page(title: str, package: str, names: Iterable[str], more: Iterable[str] = ()) -> str:
    """Returns a page with an entry for each name."""
    places = [place for name in names if (place := place_of(package, name)) is not None]
    entries = "".join(f"\n::: {place}\n" for place in [*places, *more])
    return f"# {title}: `{package}`\n{entries}"


def pages() -> dict[str, str]:
    """Returns the text of each page by its name."""
    found = {
        name: page(title, "ravine", names, RETURNED[name])
        for name, (title, names) in FRONT_DOOR.items()
    }
    for room, title in ROOMS.items():
        package = f"ravine.{room}"
        found[room] = page(title, package, import_module(package).__all__)
    return found


def main() -> None:
    """Writes the pages; with `--check` only says whether they are as they should be."""
    for name, text in pages().items():
        path = PAGES / f"{name}.md"
        if "--check" in sys.argv and path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path} is out of date: make map")
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
