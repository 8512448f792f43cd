"""Pictures of the most confident errors: of the last validation, and at the end of a run.

While it is trained they take at most a 300th of its time.
"""

import io
import time
from collections.abc import Callable, Sequence
from typing import Final, final

import numpy as np
from torch import nn

from ravine.core.atomic import make_folder, write_whole
from ravine.data.bands import as_picture
from ravine.data.dataset import Dataset
from ravine.data.label_sets import described_label
from ravine.runs.folder import RunFolder
from ravine.runs.rows import write_json
from ravine.training.evaluation import Evaluation

_SHARE: Final = 1 / 300  # of the time of the run
_MOST: Final = 12  # while it is trained

Wrong = tuple[int, int, float]
"""Image, class, log-probability; see `wrong_answers`."""


@final
class LiveMistakes:
    """A validation that also writes its most confident errors, where their time has come.

    Args:
        dataset: of the run.
        folder: of the run.
        validate: evaluates a network on the validation images.
        clock: seconds.
    """

    def __init__(
        self,
        dataset: Dataset,
        folder: RunFolder,
        validate: Callable[[nn.Module], Evaluation],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dataset, self._folder, self._validate = dataset, folder, validate
        self._clock, self._began, self._spent = clock, clock(), 0.0

    def __call__(self, model: nn.Module) -> Evaluation:
        """Returns the evaluation of a network on the validation images."""
        found = self._validate(model)
        before = self._clock()
        if self._spent <= _SHARE * (before - self._began):
            index = self._dataset.splits["validation"]
            rows = write_mistakes(self._dataset, self._folder, index, found.worst[:_MOST])
            write_json(self._folder.mistakes_so_far, {"mistakes": rows})
            self._spent += self._clock() - before
        return found


def write_mistakes(
    dataset: Dataset, folder: RunFolder, index: np.ndarray, worst: Sequence[Wrong]
) -> list[dict[str, object]]:
    """Writes the pictures of errors, and returns a row for each.

    Args:
        dataset: of the images.
        folder: to write into.
        index: (N,) int64 in the data set, of the images evaluated.
        worst: the errors; their images are 0..N-1.
    """
    make_folder(folder.mistakes)
    rows: list[dict[str, object]] = []
    for rank, (row, answer, log_probability) in enumerate(worst):
        name = f"{rank:02d}.png"
        image = int(index[row])
        write_whole(folder.mistakes / name, _png(np.asarray(dataset.images[image])))
        label = dataset.labels[image]
        missed = dataset.several and label[answer] > 0
        said = dataset.classes[answer]
        probability = float(np.exp(log_probability))
        rows.append(
            {
                "name": dataset.names[image],
                "true": described_label(label, dataset.classes),
                "predicted": f"not {said}" if missed else said,
                "probability": 1 - probability if missed else probability,
                "image": f"{folder.mistakes.name}/{name}",
            }
        )
    return rows


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    as_picture(pixels).save(buffer, "PNG")
    return buffer.getvalue()
