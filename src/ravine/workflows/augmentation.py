"""The augmentation that a recipe leaves to Ravine: decided once, and reported.

Before images are mirrored by default, a small network is asked whether mirror images of one class
look like another; the answer is in the recipe, so that a run that goes on does not ask again.
"""

from collections.abc import Callable

from ravine.core.ranks import Ranks
from ravine.data.augment_settings import choose_cutmix, choose_operations, without_flip
from ravine.data.dataset import Dataset
from ravine.training.mirror_probe import MirroredPair, find_mirrored_pair
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session

_SHORTEST = 40.0  # seconds of a budget from which on asking takes less than a twentieth of it
# For each second of the budget; decided by work and not by the clock, so that a machine that is
# busy for a moment trains with the same augmentation.
_IMAGES_A_SECOND = 20
_LONG = 3600.0  # seconds, as long as no budget


def with_augmentation(recipe: Recipe, dataset: Dataset, session: Session) -> Recipe:
    """Returns the recipe with its augmentation spelled out, and reports why it is that one."""
    if recipe.is_left_to_ravine and session.ranks.size == 1 and passes_once(recipe):
        session.notify(
            "augmentation: none, each image passes the frozen backbone once, as it is (--views 8 "
            "--augment flip,crop makes augmented views)"
        )
        return recipe.with_(augment="none", cutmix=recipe.cutmix)
    operations, reason = choose_operations(
        recipe, classes=dataset.classes, channels=dataset.preprocessing.channels
    )
    if recipe.is_left_to_ravine and "flip" in operations:
        why, unasked = _asked(dataset, recipe, session.ranks)
        if why:
            operations, reason = without_flip(operations, why)
        reason += unasked
    session.notify(reason)
    kept = {} if _leaves_mixing(recipe) else {"cutmix": recipe.cutmix}
    return recipe.with_(augment=",".join(operations) or "none", **kept)


def _leaves_mixing(recipe: Recipe) -> bool:
    """Returns whether cutmix is left to Ravine, as long as augmentation is not spelled out."""
    named = {"mixup", "cutmix"} & recipe.model_fields_set
    return recipe.is_left_to_ravine and not named


def with_mixing(
    recipe: Recipe, dataset: Dataset, session: Session, epochs_of: Callable[[], float]
) -> Recipe:
    """Returns the recipe with cutmix spelled out, and reports it where it is on.

    Args:
        recipe: of `with_augmentation`, with network and batch named.
        dataset: what is trained on.
        session: whose observers receive the choice.
        epochs_of: returns the passes over the images that the run will make; asked if it matters.
    """
    if "cutmix" in recipe.model_fields_set:
        return recipe
    alpha = 0.0
    if not dataset.several and recipe.weights is None:
        epochs, images = epochs_of(), len(dataset.splits["train"])
        alpha, reason = choose_cutmix(epochs, steps=epochs * images / min(recipe.batch, images))
        if reason:
            session.notify(reason)
    return recipe.with_(cutmix=alpha)


def passes_once(recipe: Recipe) -> bool:
    """Returns whether a head is trained on the features of the images as they are, and no others.

    With a budget there may be time for augmented views.
    """
    keeps = recipe.freeze == "backbone" and not recipe.mixup + recipe.cutmix
    one = recipe.budget is None if recipe.views is None else recipe.views <= 1
    return keeps and one


def _asked(dataset: Dataset, recipe: Recipe, ranks: Ranks) -> tuple[str, str]:
    """Returns why mirrored images are no training images, or "", and why that is not known, or "".

    The same on all ranks.
    """
    why = unasked = ""
    if recipe.budget is not None and recipe.budget < _SHORTEST:
        unasked = f"; mirror images are not compared in a budget below {_SHORTEST:g} s"
    elif ranks.is_main:
        seconds = recipe.budget or _LONG
        images = int(min(seconds, _LONG) * _IMAGES_A_SECOND)
        found = find_mirrored_pair(dataset, seed=recipe.seed, most=images)
        why = "" if found is None else why_not(found, dataset)
    return ranks.broadcast_text(why), ranks.broadcast_text(unasked)


def why_not(found: MirroredPair, dataset: Dataset) -> str:
    """Returns in a clause what the probe saw."""
    one, other = dataset.classes[found.first], dataset.classes[found.second]
    return (
        f"{found.taken:.0%} of {found.count} mirror images of {one[:24]!r} are taken for "
        f"{other[:24]!r}, of the images as they are {found.before:.0%}"
    )
