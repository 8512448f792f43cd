"""What a network and its number of images decide in a recipe: batch, learning rate and more.

`train` and `check` ask here, so that a check judges the learning rate that a training begins at.
"""

import math

from ravine.training.network_choice import (
    SMALLEST_BATCH,
    BatchChoice,
    choose_batch,
    model_defaults,
)
from ravine.workflows.recipe import Recipe


def batch_choice(
    recipe: Recipe, *, images: int, ranks: int = 1, within: float | None = None
) -> BatchChoice | None:
    """Returns the batch that leaves enough steps; None where the user has set it.

    Args:
        recipe: with its network named.
        images: that are trained on.
        ranks: processes that train together.
        within: epochs that the budget leaves time for, None where that is not known.
    """
    if "batch" in recipe.model_fields_set:
        return None
    defaults = model_defaults(recipe.model, optimizer=recipe.optimizer)
    return choose_batch(
        images,
        largest=defaults.get("batch", recipe.batch),
        epochs=recipe.epochs,
        smallest=max(SMALLEST_BATCH, 2 * ranks),
        model=recipe.model,
        within=within,
    )


def with_model_defaults(
    recipe: Recipe, chosen: BatchChoice | None, *, several: bool
) -> tuple[Recipe, dict[str, float | str]]:
    """Returns the recipe with what the user has left open, and those settings.

    Label smoothing found for one class an image is not taken for `several` labels: it would raise
    each of many small probabilities.

    Args:
        recipe: with its network named.
        chosen: of `batch_choice`.
        several: an image may have several labels.
    """
    wanted = dict(model_defaults(recipe.model, optimizer=recipe.optimizer))
    if several:
        wanted.pop("label_smoothing", None)
    free = {k: v for k, v in wanted.items() if k not in recipe.model_fields_set}
    if chosen:
        recipe = recipe.with_(batch=chosen.batch)
    if "lr" in free:  # it belongs to the batch of the table, and follows its root
        batch = chosen.batch_of_rate(by_root=True) if chosen else recipe.batch
        free["lr"] = float(f"{free['lr'] * math.sqrt(batch / wanted['batch']):.3g}")
    free |= {"batch": recipe.batch} if "batch" in free else {}
    return recipe.with_(**free), free


def lr_of_batch(recipe: Recipe, chosen: BatchChoice | None, *, normalised: bool) -> float:
    """Returns the optimizer's default learning rate for a recipe's batch.

    Args:
        recipe: after `with_model_defaults`.
        chosen: of `batch_choice`.
        normalised: the network has layers that normalise.
    """
    batch = chosen.batch_of_rate(normalised=normalised) if chosen else recipe.batch
    return recipe.default_lr(batch=batch, normalised=normalised)
