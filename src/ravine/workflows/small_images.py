"""Whether a run begins with small images: decided once, before step 1, and reported."""

from collections.abc import Callable

from ravine.core.errors import SettingError
from ravine.data.dataset import Dataset
from ravine.models.swift import small_size
from ravine.training.progressive_resizing import SmallImages
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session

# Passes over full images. With more, further steps teach little, and small images teach less:
# measured with swift-1 (docs/methods/progressive-resizing.md).
_MOST_PASSES = 15.0
_NETWORKS = "swift-"
_SHORTEST = 30.0  # seconds of a budget that holds the measurement of both steps
_FEWEST_PIXELS = 14  # a side of what a network of small images takes in


def with_small_size(
    recipe: Recipe, dataset: Dataset, session: Session, passes_of: Callable[[], float]
) -> Recipe:
    """Returns the recipe with the size of the first images spelled out, and reports it.

    Args:
        recipe: with network and batch named.
        dataset: what is trained on.
        session: whose observers receive the choice.
        passes_of: returns how often full images would be seen; asked if it matters.

    Raises:
        SettingError: the images that were asked for are not smaller than full ones, or too small.
    """
    full = dataset.preprocessing.image_size
    if recipe.small_size != "auto":
        _refuse_size(recipe.small_size, full)
        return recipe
    small = small_size(full)
    fits = recipe.model.startswith(_NETWORKS) and small >= _FEWEST_PIXELS and not recipe.compile
    in_budget = recipe.budget is not None and recipe.budget >= _SHORTEST
    if not fits or not in_budget or recipe.weights is not None or passes_of() >= _MOST_PASSES:
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


def _refuse_size(small: int, full: int) -> None:
    if small and not 1 < small < full:
        raise SettingError(
            f"small_size {small}: the images are {full}×{full}; take fewer pixels, such as "
            f"{small_size(full)}, or 0 for full images throughout"
        )
