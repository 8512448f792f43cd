"""best.safetensors: the weights of a run's best evaluation, where they are not the last ones."""

from dataclasses import asdict
from typing import Any

from ravine.data.dataset import Dataset
from ravine.runs.folder import RunFolder
from ravine.training.best_weights import luck_of_choice
from ravine.training.model_file import save_model
from ravine.workflows.assemble import Assembly
from ravine.workflows.run_end import thresholds_of


def keep_best(assembly: Assembly, dataset: Dataset, folder: RunFolder) -> dict[str, Any] | None:
    """Writes the best weights, and returns what evaluation.json says of them.

    The network of the run holds them afterwards. None where no weights were kept.

    Args:
        assembly: of the run, whose last weights are written and evaluated already.
        dataset: that it trained on.
        folder: its folder.
    """
    state = assembly.state
    best = state.validations.best
    if best is None or not state.validations.keeps or "validation" not in dataset.splits:
        return None
    is_last = best.step == state.step
    if not is_last and state.validations.weights:
        model = state.evaluated
        model.load_state_dict(state.validations.weights)
        if assembly.measured is not None:
            assembly.measured.measure_(model)
        thresholds = thresholds_of(assembly, dataset)
        save_model(
            folder.best_model,
            model,
            settings=assembly.recipe,
            classes=dataset.classes,
            preprocessing=dataset.preprocessing,
            thresholds=None if thresholds is None else thresholds.values.tolist(),
        )
    evaluations = len(state.validations.rows)
    images = len(dataset.splits["validation"])
    luck = luck_of_choice(best.accuracy, images=images, evaluations=evaluations)
    return {
        **asdict(best),
        "epoch": best.step / assembly.plan.steps_per_epoch,
        "evaluations": evaluations,
        "images": images,
        "luck": luck,
        "is_last": is_last,
    }
