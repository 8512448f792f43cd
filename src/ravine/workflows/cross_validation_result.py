"""The result of a cross-validated run: of all its folds, and of their mean on the test images."""

from typing import TYPE_CHECKING

import numpy as np

from ravine.core.allowed_code import AllowedCode
from ravine.core.lazy import lazy_module
from ravine.core.progress import Progress
from ravine.data.opening import open_dataset
from ravine.runs.folder import RunFolder
from ravine.runs.rows import read_json, write_json
from ravine.training.evaluation import full_evaluation
from ravine.workflows.cross_validation import fold_recipe, pooled_evaluation
from ravine.workflows.data_paths import located
from ravine.workflows.ensemble import Ensemble
from ravine.workflows.recipe import Recipe
from ravine.workflows.run import Run

if TYPE_CHECKING:
    from ravine.reports import page
else:
    page = lazy_module("ravine.reports.page")


def write_folds_result(
    folder: RunFolder, recipe: Recipe, code: AllowedCode, progress: Progress
) -> None:
    """Writes evaluation.json and the report of a cross-validated run whose folds have all ended.

    Args:
        folder: of the run.
        recipe: of all folds.
        code: the `module:callable`s that may be imported as the network.
        progress: receives the progress of slow work.
    """
    assert recipe.folds is not None
    folds = [folder.fold(number) for number in range(1, recipe.folds + 1)]
    found = pooled_evaluation([read_json(fold.evaluation) for fold in folds])
    # The first run folder's data: a fold may have been moved with `resume --data`.
    own = located(fold_recipe(recipe, 1), folds[0])
    dataset = open_dataset(own, seed=own.seed, progress=progress)
    test = dataset.splits.get("test")
    if test is not None:
        run = Run.load(folder.path, allow_code=sorted(code.names))
        ensemble = Ensemble(
            members=run.members,
            device=own.device,
            precision=own.precision,
            mirrored=own.tta,
            progress=progress,
        )
        plain, mirrored = ensemble.all(dataset.images, np.asarray(test))
        labels = dataset.labels[test]
        found["test"] = full_evaluation(
            plain,
            mirrored,
            labels,
            split="test",
            classes=dataset.classes,
            thresholds=run.thresholds(),
        )
    write_json(folder.evaluation, found)
    page.render_report(folder.path)
