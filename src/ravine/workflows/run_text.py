"""A run in a line of text, and as a notebook shows it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ravine.core.html_table import html_table
from ravine.runs.folder import RunFolder
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_json
from ravine.runs.shown_loss import with_shown_loss
from ravine.runs.verdict import Verdict, chance_of
from ravine.workflows.screens import share

_LAST = 5  # epochs that are shown


class Finished(Protocol):
    """What a text about a run needs of it."""

    @property
    def _folder(self) -> RunFolder: ...

    @property
    def epochs(self) -> Sequence[Mapping[str, Any]]:
        """The rows of epochs."""
        ...

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        """The rows of steps."""
        ...

    @property
    def verdict(self) -> Verdict:
        """What holds of it."""
        ...


def run_text(run: Finished) -> str:
    """Returns a line: network, data, accuracy with its interval, seconds."""
    folder = run._folder
    recipe = read_recipe(folder.recipe)[0] if folder.recipe.is_file() else {}
    text = f"{recipe.get('model', folder.path.name)} on {recipe.get('data', '?')}"
    if run.verdict.kind in ("broken", "chance"):
        text += f": {run.verdict.headline}"
    if not folder.evaluation.is_file():
        last = run.steps[-1]["step"] if run.steps else 0
        return f"{text}: no result yet, step {last} ({folder.path})"
    found = read_json(folder.evaluation)
    where = f"images in {found['split']}" if "folds" in found else f"{found['split']} images"
    text += f": {_result(found)} {found['count']:,} {where}"
    seconds = read_json(folder.environment).get("seconds", {}).get("training")
    return text + (f", {seconds:.0f} s" if seconds else "")


def _result(found: Mapping[str, Any]) -> str:
    """Returns the accuracy, or with several labels mAP and macro F1, each with its interval."""
    if "mean_ap" in found:
        scores = [share(found[n], tuple(found[f"{n}_interval"])) for n in ("mean_ap", "macro_f1")]
        return f"mAP {scores[0]}, macro F1 {scores[1]} on"
    interval = tuple(found.get("interval") or ())
    return f"{share(found['accuracy'], interval if len(interval) == 2 else None)} of"


def run_html(run: Finished) -> str:
    """Returns the line, the chance, and a table of the last epochs."""
    last = run.epochs[-_LAST:]
    several = any("train_exact_match" in row for row in last)
    training, validation = ("exact_match", "mean_ap") if several else ("accuracy", "accuracy")
    rows = [
        (
            f"{row['epoch']:.4g}",
            f"{with_shown_loss(row, 'train_loss')['train_loss']:.3f}",
            share(row[f"train_{training}"]),
            "–" if row.get(validation) is None else share(row[validation]),
        )
        for row in last
    ]
    names = (f"training {training.replace('_', ' ')}", "validation accuracy")
    columns = ("epoch", "loss", names[0], "validation mAP" if several else names[1])
    folder = run._folder
    chance = chance_of(read_json(folder.evaluation)) if folder.evaluation.is_file() else None
    title = run_text(run) + (f"; chance is {100 * chance:.3g} %" if chance else "")
    return html_table(title, columns, rows)
