"""The settings that a recipe leaves to Ravine, decided once, before step 1, and reported.

Each function returns the recipe with its setting spelled out: network, batch, what the network is
best trained with, learning rate, number of steps, batch norm's statistics.
"""

from dataclasses import replace

from ravine.models.table import describe_stem
from ravine.optim.lr_range_test import range_test
from ravine.training.budget import budget_too_short, plan_for_budget
from ravine.training.loop import Training
from ravine.training.measured_statistics import resolve_statistics
from ravine.training.network_choice import (
    BatchChoice,
    NetworkChoice,
    choose_for_budget,
    choose_for_epochs,
    is_worth_smaller,
)
from ravine.training.network_evidence import Situation, choose_by_evidence, measured_cells
from ravine.training.plan import Plan, epochs_too_few, plan_for_epochs
from ravine.workflows.augmentation import with_mixing
from ravine.workflows.builder import Builder
from ravine.workflows.fine_tuning import fine_tuning_lr, with_layer_decay
from ravine.workflows.network_defaults import batch_choice, lr_of_batch, with_model_defaults
from ravine.workflows.recipe import Recipe
from ravine.workflows.small_images import with_small_size

# Seconds that measuring the steps of a run may take, and those of a network to choose from; and the
# share of the budget that they may take at most.
_SECONDS_TO_MEASURE, _SHARE_TO_MEASURE = 6.0, 0.03
_SECONDS_TO_COMPARE, _SHARE_TO_COMPARE = 1.0, 0.02
_SHRINKS = 0.85  # power of the batch that a step's seconds follow: swift-1, batches of 64 to 256
# Images of a batch under which networks without norms have their gradients limited, and to what.
_FEW, _LIMIT = 32, 1.0
# Seconds of a budget below which the plan is made of what the choice of the network measured: a
# run corrects it as it goes.
_SHORT = 60.0


def resolve_settings(recipe: Recipe, builder: Builder) -> Recipe:
    """Returns the recipe with network, batch, learning rate and model defaults spelled out."""
    recipe = _with_possible_batch(recipe, builder)
    if recipe.model == "auto":
        recipe = _with_network(recipe, builder)
    chosen = _batch_for_length(recipe, builder)
    several = builder.dataset.several
    recipe, defaults = with_model_defaults(recipe, chosen, several=several)
    _report_defaults(recipe, chosen, defaults, builder)
    recipe = _with_images_of_length(recipe, builder)
    recipe = with_layer_decay(recipe, builder)
    if recipe.lr is None:
        return _with_default_lr(recipe, chosen, builder)
    if recipe.lr == "auto":
        return _with_tested_lr(recipe, builder)
    if meaning := recipe.lr_of_torch(recipe.lr):
        whose = f"{recipe.model}'s own" if "lr" in defaults else "as given"
        builder.session.notify(f"learning rate {recipe.lr:g}, {whose}{meaning}")
    return recipe


def _with_images_of_length(recipe: Recipe, builder: Builder) -> Recipe:
    """Returns the recipe with what the length of the run decides about its images."""
    dataset, session = builder.dataset, builder.session
    recipe = with_mixing(recipe, dataset, session, lambda: _epochs_to_go(recipe, builder))
    return with_small_size(recipe, dataset, session, lambda: _epochs_to_go(recipe, builder))


def resolve_plan(
    recipe: Recipe, plan: Plan | None, training: Training, builder: Builder
) -> tuple[Recipe, Plan]:
    """Returns the plan, and the recipe with the statistics that a run of this length needs.

    Args:
        recipe: every other setting is spelled out.
        plan: of a run that goes on or is repeated; None to make one.
        training: what the recipe trains; its state is left as it was.
        builder: that built it.
    """
    found = plan or _make_plan(recipe, training, builder)
    statistics = resolve_statistics(
        recipe.norm_statistics, training.state.model, found, small=training.small is not None
    )
    if statistics == "measured" and plan is None and found.speed is not None:
        left = builder.seconds_left(recipe.budget or 0.0)
        speed = found.speed.with_statistics()
        found = plan_for_budget(left, speed, steps_per_epoch=found.steps_per_epoch)
    said = budget_too_short(found, recipe.budget) or epochs_too_few(found, recipe.epochs)
    if plan is None and said:
        builder.session.notify(said, warning=True)
    if statistics == "measured" and recipe.norm_statistics == "auto":
        small = training.small is not None
        builder.session.notify(builder.measured.reason(found.total_steps, small=small))
    return recipe.with_(norm_statistics=statistics), found


def _with_possible_batch(recipe: Recipe, builder: Builder) -> Recipe:
    """Returns the recipe with a batch of at most all images, to which the learning rate belongs."""
    images = len(builder.dataset.splits["train"])
    if "batch" not in recipe.model_fields_set or recipe.batch <= images:
        return recipe
    builder.session.notify(f"batch {recipe.batch} becomes {images}: all images of the training")
    return recipe.with_(batch=images)


def _with_network(recipe: Recipe, builder: Builder) -> Recipe:
    if recipe.budget is None:
        dataset = builder.dataset
        choice = choose_for_epochs(
            dataset.preprocessing.image_size,
            images=sum(len(dataset.splits.get(name, ())) for name in ("train", "validation")),
            epochs=recipe.epochs or 1.0,
            residual=_needs_residual(recipe),
        )
    else:
        choice = _within_budget(recipe, recipe.budget, builder)
    builder.session.notify(choice.reason)
    return recipe.with_(model=choice.model)


def _needs_residual(recipe: Recipe) -> bool:
    """Returns whether the recipe asks for what only networks with skip connections have."""
    return not recipe.skip or recipe.zero_init or recipe.norm != "batch"


def _within_budget(recipe: Recipe, budget: float, builder: Builder) -> NetworkChoice:
    """Returns the network by measured runs on data like this; by a rule where there are none."""
    dataset = builder.dataset
    residual = _needs_residual(recipe)

    def epochs_of(name: str) -> float:
        return _epochs_within(budget, recipe.with_(model=name), builder)

    if not residual and not dataset.several and builder.start is None:
        situation = Situation(
            images=len(dataset.splits["train"]),
            image_size=dataset.preprocessing.image_size,
            classes=len(dataset.classes),
            channels=dataset.preprocessing.channels,
        )
        found = choose_by_evidence(measured_cells(), situation, epochs_of, budget=budget)
        if found is not None:
            return found
    size = dataset.preprocessing.image_size
    return choose_for_budget(size, epochs_of, budget=budget, residual=residual)


def _epochs_within(budget: float, recipe: Recipe, builder: Builder) -> float:
    """Returns the epochs that a network would make within the budget: measured."""
    several = builder.dataset.several
    candidate, _ = with_model_defaults(recipe, _batch_choice(recipe, builder), several=several)
    training = builder.training(candidate)
    speed = builder.compared.get((candidate.model, candidate.batch))
    if speed is None:
        seconds = min(_SECONDS_TO_COMPARE, _SHARE_TO_COMPARE * budget)
        speed = builder.speed(candidate, training, seconds=seconds)
        builder.compared[candidate.model, candidate.batch] = speed
    steps = training.batches.steps_per_epoch
    plan = plan_for_budget(builder.seconds_left(budget), speed, steps_per_epoch=steps)
    return plan.total_steps / plan.steps_per_epoch


def _epochs_to_go(recipe: Recipe, builder: Builder) -> float:
    """Returns the passes over the images that a run will make, measured where a budget decides."""
    if recipe.budget is None:
        return recipe.epochs or 1.0
    return _epochs_within(recipe.budget, recipe, builder)


def _batch_choice(
    recipe: Recipe, builder: Builder, within: float | None = None
) -> BatchChoice | None:
    images, ranks = len(builder.dataset.splits["train"]), builder.session.ranks.size
    return batch_choice(recipe, images=images, ranks=ranks, within=within)


def _batch_for_length(recipe: Recipe, builder: Builder) -> BatchChoice | None:
    """Returns the batch, of a run by seconds too by how many steps it leaves.

    Steps of another batch are not timed again: what they take is guessed.
    """
    chosen = _batch_choice(recipe, builder)
    if recipe.budget is None or chosen is None or not is_worth_smaller(recipe.model):
        return chosen
    found = _batch_choice(recipe, builder, _epochs_within(recipe.budget, recipe, builder))
    known = builder.compared[recipe.model, chosen.batch]
    if found is not None and found.batch != chosen.batch:
        share = (found.batch / chosen.batch) ** _SHRINKS
        shorter = replace(known, step=known.step * share, small_step=known.small_step * share)
        builder.compared[recipe.model, found.batch] = shorter
    return found


def _report_defaults(
    recipe: Recipe,
    chosen: BatchChoice | None,
    defaults: dict[str, float | str],
    builder: Builder,
) -> None:
    notify = builder.session.notify
    if chosen and chosen.batch < chosen.largest:
        notify(chosen.reason)
    if defaults:
        shown = {k: v if isinstance(v, str) else f"{v:g}" for k, v in defaults.items()}
        listed = ", ".join(f"{name} {value}" for name, value in shown.items())
        notify(f"{recipe.model} is trained with {listed}, unless set otherwise")
    if stem := describe_stem(recipe.model, builder.dataset.preprocessing.image_size):
        notify(stem)


def _with_default_lr(recipe: Recipe, chosen: BatchChoice | None, builder: Builder) -> Recipe:
    normalised = builder.has_norms(recipe)
    lr = lr_of_batch(recipe, chosen, normalised=normalised)
    if builder.start is not None:
        lr, why = fine_tuning_lr(recipe, lr, builder)
        builder.session.notify(f"learning rate {lr:.3g}: {why}{recipe.lr_of_torch(lr)}")
        return recipe.with_(lr=float(f"{lr:.6g}"))
    recipe = recipe if normalised else _with_limit(recipe, chosen, builder)
    where = "" if normalised else ", which has no normalisation"
    builder.session.notify(
        f"learning rate {lr:.3g}: the default of {recipe.optimizer} for batches of "
        f"{recipe.batch} and this network{where}{recipe.lr_of_torch(lr)}"
    )
    return recipe.with_(lr=lr)


def _with_limit(recipe: Recipe, chosen: BatchChoice | None, builder: Builder) -> Recipe:
    """Returns the recipe with limited gradients where few images leave batches of a few.

    The slope of a few images is now and then far steeper than that of a usual batch, which the
    learning rate is for, and nothing normalises what a step too long does.
    """
    if chosen is None or chosen.batch >= _FEW or "clip" in recipe.model_fields_set:
        return recipe
    builder.session.notify(
        f"gradients are limited to a norm of {_LIMIT:g} (--clip): {recipe.model} has no "
        f"normalisation, and its batches {chosen.batch} images"
    )
    return recipe.with_(clip=_LIMIT)


def _with_tested_lr(recipe: Recipe, builder: Builder) -> Recipe:
    training = builder.training(recipe.with_(lr=None))
    batches = training.batches
    found = range_test(
        training.state.model,
        training.state.optimizer,
        training.step.loss,
        (batches.whole_batch_at(step) for step in range(10**9)),
        precision=builder.precision,
    )
    lr = builder.session.ranks.broadcast(found.suggestion)[0]
    meaning = recipe.lr_of_torch(lr)
    builder.session.notify(f"learning rate {lr:.3g}: by a range test{meaning}")
    return recipe.with_(lr=lr)


def _make_plan(recipe: Recipe, training: Training, builder: Builder) -> Plan:
    steps_per_epoch = training.batches.steps_per_epoch
    if recipe.budget is None:
        return plan_for_epochs(recipe.epochs or 1.0, steps_per_epoch=steps_per_epoch)
    known = builder.compared.get((recipe.model, recipe.batch))
    if known is not None and recipe.budget < _SHORT and training.small is None:
        speed = known
    else:
        seconds = min(_SECONDS_TO_MEASURE, _SHARE_TO_MEASURE * recipe.budget)
        speed = builder.speed(recipe, training, seconds=seconds)
    left = builder.seconds_left(recipe.budget)
    return plan_for_budget(left, speed, steps_per_epoch=steps_per_epoch)
