"""Fresh, frozen or fine-tuned: what a tenth of the budget finds to be best on these images.

Each way is tried as a short run of its own, with its schedule down to its end, in a third of a
tenth of the budget, and evaluated on the validation images:

    frozen      the head is fitted to features; this is nearly what a whole run would reach
    fine-tuned  all layers learn, the head first
    fresh       the same network without the weights

Fresh is taken where it is better than both others by more than chance; frozen where it is better
than fine-tuned by more than chance, or where the budget does not let the network see each image
once; fine-tuned else, since it has the rest of the budget to gain from.
"""

import time
from dataclasses import dataclass, replace
from typing import final

from ravine.core.errors import TrainingDiverged
from ravine.data.batches import evaluation_batches
from ravine.data.dataset import Dataset
from ravine.ops.kernel_plan import guessed_plan, use_algorithms
from ravine.training.evaluation import Evaluation
from ravine.training.loop import Training, fit
from ravine.training.plan import Plan
from ravine.training.speed import seconds_per_image, seconds_per_step
from ravine.workflows.automatic import resolve_settings
from ravine.workflows.builder import EVALUATION_BATCH, Builder
from ravine.workflows.fine_tuning import begin_fine_tuning, keeps_head
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session

_SHARE = 0.1  # of the budget, for all three
_MEASURED = 0.1  # of a trial's time, for measuring its step
_MOST_VALIDATED = 1000
_MOST_FITTED = 2000  # images to which the head is fitted for a trial
_FEWEST = 50  # images for either, and for the statistics of the norms
_SHARE_VALIDATED, _SHARE_FITTED = 0.2, 0.5  # of a trial's time
_TIMED = 16  # images at a time, where an image is timed
_FEWEST_STEPS = 2


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StartTrial:
    """What a short run of one way has reached."""

    way: str
    evaluation: Evaluation
    epochs: float = 0.0
    epochs_of_budget: float = 0.0

    def text(self) -> str:
        """Returns it in words."""
        seen = f" after {self.epochs:.2g} epochs" if self.epochs else ""
        return f"{self.way} {self.evaluation.accuracy:.1%}{seen}"


def choose_start(recipe: Recipe, builder: Builder) -> tuple[Recipe, list[str]]:
    """Returns the recipe with `freeze` spelled out, without weights where fresh ones are better.

    Args:
        recipe: network and batch may be open; the weights bring the network along.
        builder: of the run; its clock is that of the budget.

    Returns:
        The recipe, and what was compared, in sentences.
    """
    if recipe.freeze != "auto" or builder.start is None:
        return recipe, []
    reason = _no_choice(recipe, builder)
    if reason is not None:
        return recipe.with_(freeze="none"), [reason]
    quiet = replace(builder, session=Session(ranks=builder.session.ranks))
    frozen, tuned = _trials(recipe.with_(freeze="none"), quiet, "fine-tuned")
    fresh_recipe = recipe.with_(weights=None, freeze="none")
    _, fresh = _trials(fresh_recipe, replace(quiet, start=None), "fresh")
    return _decide(recipe, frozen, tuned, fresh)


def _trials(recipe: Recipe, builder: Builder, way: str) -> tuple[StartTrial, StartTrial]:
    """Returns what a recipe reaches without a step, its head fitted where it starts from weights,
    and after a short run.
    """
    assert recipe.budget is not None
    seconds = _SHARE * recipe.budget / 3
    recipe = resolve_settings(recipe, builder)
    training = builder.training(recipe)
    model = training.state.model
    kernels = guessed_plan(builder.shapes(model), "float32")
    with use_algorithms(kernels.algorithms):
        image = _seconds_per_image(training, builder, seconds)
        few = _few(builder, max(_FEWEST, int(_SHARE_VALIDATED * seconds / image)))
        builder = replace(builder, dataset=few)
        most = max(_FEWEST, min(_MOST_FITTED, int(_SHARE_FITTED * seconds / image)))
        _, training = begin_fine_tuning(recipe, training, builder, kernels, most=most)
        began = time.monotonic()
        frozen = StartTrial(way="frozen", evaluation=builder.validate(model))
        # The statistics of the norms are measured, and the images evaluated, once more.
        closing = 2 * (time.monotonic() - began)
        left = max(_MEASURED * seconds, seconds - closing)
        step = seconds_per_step(training, seconds=_MEASURED * left)
        steps = max(_FEWEST_STEPS, int(left / step))
        per_epoch = training.batches.steps_per_epoch
        try:
            fit(
                replace(training, validate=None), Plan(total_steps=steps, steps_per_epoch=per_epoch)
            )
            measured = replace(builder.measured, most=len(few.splits["validation"]))
            found = measured.within(builder.validate)(model)
        except TrainingDiverged:
            found = replace(frozen.evaluation, accuracy=0.0)
    return frozen, StartTrial(
        way=way,
        evaluation=found,
        epochs=steps / per_epoch,
        epochs_of_budget=seconds * 3 / _SHARE / step / per_epoch,
    )


def _decide(
    recipe: Recipe, frozen: StartTrial, tuned: StartTrial, fresh: StartTrial
) -> tuple[Recipe, list[str]]:
    compared = f"{frozen.text()}, {tuned.text()}, {fresh.text()} on validation images"
    best = max(frozen.evaluation.score, tuned.evaluation.score)
    if _least(fresh.evaluation) > best:
        text = (
            f"fresh weights: better than trained ones by more than chance ({compared}); --freeze "
            "none keeps the trained ones"
        )
        return recipe.with_(weights=None, freeze="none"), [text]
    if tuned.epochs_of_budget < 1:
        text = (
            f"frozen backbone: the budget shows the whole network {tuned.epochs_of_budget:.2g} of "
            f"the images ({compared})"
        )
        return recipe.with_(freeze="backbone"), [text]
    if _least(frozen.evaluation) > tuned.evaluation.score:
        text = f"frozen backbone: better than fine-tuning by more than chance ({compared})"
        return recipe.with_(freeze="backbone"), [text]
    text = (
        "fine-tuned: not worse by more than chance in a short trial, with the rest of the budget "
        f"to gain ({compared})"
    )
    return recipe.with_(freeze="none"), [text]


def _least(found: Evaluation) -> float:
    """Returns the lower end of an accuracy's interval; of several labels the score itself."""
    return found.score if found.interval is None else found.interval[0]


def _no_choice(recipe: Recipe, builder: Builder) -> str | None:
    """Returns why nothing is compared; None where it is."""
    assert builder.start is not None
    trained = builder.start.trained
    if trained is None or recipe.budget is None:
        return "all layers are trained (--freeze backbone trains the head alone)"
    if keeps_head(trained, builder.dataset.classes):
        return "all classes are known: all layers go on learning"
    if "validation" not in builder.dataset.splits or builder.session.ranks.size > 1:
        return "all layers are trained: one process compares, on validation images"
    return None


def _seconds_per_image(training: Training, builder: Builder, seconds: float) -> float:
    """Returns how long an image takes through the network, from a few of them."""
    index = builder.dataset.splits["train"][:EVALUATION_BATCH]
    few = evaluation_batches(
        builder.dataset.images,
        index,
        preprocessing=builder.dataset.preprocessing,
        batch=_TIMED,
        device=builder.device,
    )
    return seconds_per_image(
        training.state.model,
        few,
        precision=builder.precision,
        mirrored=False,
        seconds=_MEASURED * seconds,
    )


def _few(builder: Builder, most: int) -> Dataset:
    """Returns the data set with at most so many validation images, 1,000 at most, evenly spaced."""
    dataset = builder.dataset
    index = dataset.splits["validation"]
    few = index[:: -(-len(index) // min(most, _MOST_VALIDATED))]
    return replace(dataset, splits={**dataset.splits, "validation": few})
