"""Fresh, frozen or fine-tuned: what a tenth of the budget finds to be best on these images.

Fresh is taken where it is better than both others by more than chance; frozen where it is better
than fine-tuned by more than chance, where the budget does not let the network see each image once,
or where a tenth of it is too short for the fewest steps; fine-tuned else, since it has the rest of
the budget to gain from. `start_trials` tries them.
"""

from dataclasses import replace

from ravine.training.evaluation import Evaluation
from ravine.workflows.builder import Builder
from ravine.workflows.fine_tuning import keeps_head
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session
from ravine.workflows.start_trials import StartTrials, try_starts

_SHARE = 0.1  # of the budget, for all trials


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
    found = try_starts(recipe, quiet, share=_SHARE)
    way, why = _decide(found, recipe.budget or 0.0)
    if way == "fresh":
        return recipe.with_(weights=None, freeze="none"), [why]
    return recipe.with_(freeze=way), [why]


def _decide(found: StartTrials, budget: float) -> tuple[str, str]:
    """Returns fresh, or what is frozen, and why."""
    if found.frozen is None or found.tuned is None:
        return "backbone", _too_short(found, budget)
    frozen, tuned, fresh = found.frozen, found.tuned, found.fresh
    tried = [trial.text() for trial in (frozen, tuned, fresh) if trial is not None]
    untried = "" if fresh is not None else ", no time for fresh weights"
    compared = f"{', '.join(tried)} on validation images{untried}, in {found.seconds:.1f} s"
    best = max(frozen.evaluation.score, tuned.evaluation.score)
    if fresh is not None and _least(fresh.evaluation) > best:
        return "fresh", (
            f"fresh weights: better than trained ones by more than chance ({compared}); --freeze "
            "none keeps the trained ones"
        )
    if found.epochs_of_budget < 1:
        return "backbone", f"frozen backbone: {_shows(found)} ({compared})"
    if _least(frozen.evaluation) > tuned.evaluation.score:
        return "backbone", (
            f"frozen backbone: better than fine-tuning by more than chance ({compared})"
        )
    return "none", (
        "fine-tuned: not worse by more than chance in a short trial, with the rest of the budget "
        f"to gain ({compared})"
    )


def _too_short(found: StartTrials, budget: float) -> str:
    """Returns why the backbone is frozen without a trial."""
    if found.epochs_of_budget < 1:
        return f"frozen backbone: {_shows(found)} (nothing was tried)"
    return (
        f"frozen backbone: a tenth of the budget, {_SHARE * budget:.2g} s, is too short to try the "
        f"whole network, a step of which takes {found.step:.2g} s; --freeze none trains all of it"
    )


def _shows(found: StartTrials) -> str:
    return f"the budget shows the whole network {found.epochs_of_budget:.2g} of the images"


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
