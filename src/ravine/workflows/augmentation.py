"""The augmentation that a recipe leaves to Ravine: decided once, and reported.

Before images are mirrored by default, a small network is asked whether mirror images of one class
look like another; the answer is in the recipe, so that a run that goes on does not ask again.
"""

from ravine.core.ranks import Ranks
from ravine.data.augment_settings import choose_operations, without_flip
from ravine.data.dataset import Dataset
from ravine.training.mirror_probe import MirroredPair, find_mirrored_pair
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session


def with_augmentation(recipe: Recipe, dataset: Dataset, session: Session) -> Recipe:
    """Returns the recipe with its augmentation spelled out, and reports why it is that one."""
    operations, reason = choose_operations(recipe, classes=dataset.classes)
    if recipe.is_left_to_ravine and "flip" in operations:
        said = _asked(dataset, recipe.seed, session.ranks)
        if said:
            operations, reason = without_flip(operations, said)
    session.notify(reason)
    return recipe.with_(augment=",".join(operations) or "none")


def _asked(dataset: Dataset, seed: int, ranks: Ranks) -> str:
    """Returns why mirrored images are no training images, or ""; the same on all ranks."""
    said = ""
    if ranks.is_main:
        found = find_mirrored_pair(dataset, seed=seed)
        said = "" if found is None else why_not(found, dataset)
    return ranks.broadcast_text(said)


def why_not(found: MirroredPair, dataset: Dataset) -> str:
    """Returns in a clause what the probe saw."""
    one, other = dataset.classes[found.first], dataset.classes[found.second]
    return (
        f"{found.taken:.0%} of {found.count} mirror images of {one[:24]!r} are taken for "
        f"{other[:24]!r}, of the images as they are {found.before:.0%}"
    )
