"""Whether a run begins with small images: decided once, before step 1, and reported."""

from collections.abc import Callable

from ravine.core.errors import SettingError
from ravine.data.dataset import Dataset
from ravine.models.swift import LEAST_SIZE, small_size
from ravine.training.progressive_resizing import SmallImages
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session

# Passes over full images. With more, further steps teach little, and small images teach less:
# measured with swift-1 (docs/methods/progressive-resizing.md).
_MOST_PASSES = 15.0
_NETWORKS = "swift-"
_SHORTEST = 30.0  # seconds of a budget that holds the measurement of both steps


def with_small_size(
    recipe: Recipe, dataset: Dataset, session: Session, epochs_of: Callable[[], float]
) -> Recipe:
    """Returns the recipe with the size of the first images spelled out, and reports it.

    Args:
        recipe: with network and batch named.
        dataset: what is trained on.
        session: whose observers receive the choice.
        epochs_of: returns the passes over full images that the run would make; asked if it matters.

    Raises:
        SettingError: the images that were asked for are not smaller than full ones, or too small.
    """
    full = dataset.preprocessing.image_size
    if recipe.small_size != "auto":
        _refuse_size(recipe, recipe.small_size, full)
        return recipe
    small = small_size(full)
    fits = recipe.model.startswith(_NETWORKS) and small >= LEAST_SIZE and not recipe.compile
    in_budget = recipe.budget is not None and recipe.budget >= _SHORTEST
    if not fits or not in_budget or recipe.weights is not None or epochs_of() >= _MOST_PASSES:
        return recipe.with_(small_size=0)
    session.notify(
        f"images of {small}×{small} for the first {recipe.small_share:.0%} of the steps, which "
        f"then are more, and {full}×{full} for the rest (--small-size 0 for {full}×{full} "
        "throughout)"
    )
    return recipe.with_(small_size=small)


def small_images_of(recipe: Recipe) -> SmallImages | None:
    """Returns what the first steps of a recipe see; None for full images, or before it is known."""
    if recipe.small_size in ("auto", 0):
        return None
    return SmallImages(size=int(recipe.small_size), share=recipe.small_share)


def _refuse_size(recipe: Recipe, small: int, full: int) -> None:
    if small and recipe.freeze == "backbone":
        raise SettingError(
            f"small_size {small}: a frozen backbone passes each image once; leave it out"
        )
    least = LEAST_SIZE if recipe.model.startswith(_NETWORKS) else 2
    if small and not least <= small < full:
        remedy = f"take {least} to {full - 1} pixels, such as {max(least, small_size(full))}, or "
        raise SettingError(
            f"small_size {small}: the images are {full}×{full}; "
            f"{remedy if least < full else f'{recipe.model} takes none smaller; '}"
            "0 for full images throughout"
        )
