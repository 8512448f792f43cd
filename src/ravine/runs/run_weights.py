"""Which weights of a run are meant: the last ones, or the best along the way. Loads no torch."""

from pathlib import Path

from ravine.core.errors import RunError
from ravine.core.validation import check_choice
from ravine.runs.folder import RunFolder
from ravine.runs.rows import read_json

WEIGHTS_OF = ("last", "best")


def check_weights_of(which: str) -> None:
    """Raises `SettingError` for another word than `WEIGHTS_OF`."""
    check_choice("weights_of", which, WEIGHTS_OF)


def refuse_best_of_file(path: Path, which: str) -> None:
    """Raises `RunError` if a file of weights is asked for its best ones."""
    if which == "best":
        raise RunError(f"{path} holds one set of weights; name a run folder, or best.safetensors")


def weights_path(folder: RunFolder, which: str) -> Path:
    """Returns the file of a run's last or best weights.

    The last ones are the best where no evaluation before was better.

    Raises:
        RunError: the best weights were not kept.
    """
    if which == "last":
        return folder.model
    if folder.folds:
        raise RunError(
            f"{folder.path} is cross-validated: the images of a fold are its test, and no weights "
            "are chosen on them; leave out --weights-of best"
        )
    found = read_json(folder.evaluation).get("best") if folder.evaluation.is_file() else None
    if not isinstance(found, dict):
        raise RunError(
            f"{folder.path} has kept no best weights: it has not ended, it has no validation "
            "images, or it was trained with --no-keep-best; leave out --weights-of best"
        )
    return folder.model if found.get("is_last") is True else folder.best_model
