"""What a run from trained weights does before step 1: the head first, features once.

Its learning rates and its layer decay are decided here too. `start_choice` decides what is frozen.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ravine.core.counted import counted
from ravine.nn.freezing import layers_of
from ravine.ops.kernel_plan import KernelPlan
from ravine.training.features import Backbone, backbone_of, gather_features, largest_curvature
from ravine.training.head_fit import fit_head_
from ravine.training.loop import Training
from ravine.weights.adapt import class_rows
from ravine.weights.trained_weights import TrainedWeights
from ravine.workflows.builder import Builder
from ravine.workflows.recipe import Recipe
from ravine.workflows.run_features import FeatureMaker, images_of, on_features

FINE_TUNING_LR = 0.1  # of the learning rate from fresh weights
_FIRST_LAYER = 0.1  # learning rate of the first layer, of the last one's
_MOST_TO_FIT, _FEWEST_TO_FIT = 10_000, 50  # images on which a head is fitted
_SHARE_TO_FIT = 0.1  # of the budget: for their features, and for fitting the head
_TO_MEASURE = 4  # of so many images one, by a budget, on which norms are measured
_TO_JUDGE = 128  # images whose features decide the learning rate


def keeps_head(trained: TrainedWeights, classes: tuple[str, ...]) -> bool:
    """Returns whether the weights know every class by its name."""
    return len(class_rows(classes, trained.classes)) == len(classes)


def fine_tuning_lr(recipe: Recipe, lr: float, builder: Builder) -> tuple[float, str]:
    """Returns the learning rate of a run from trained weights, and why, in words.

    Args:
        recipe: with `freeze` spelled out.
        lr: learning rate from fresh weights.
        builder: of the network.
    """
    if recipe.freeze != "backbone":
        return lr * FINE_TUNING_LR, "a tenth of the default, for trained weights"
    model = builder.network(recipe, builder.batches(recipe))
    backbone = _backbone(recipe, model, builder)
    if backbone is None or recipe.optimizer not in ("momentum", "nesterov"):
        return lr, "for a head alone"
    features = gather_features(backbone, _plain_batches(builder, _TO_JUDGE))
    stable = recipe.lr_like_torch(1 / largest_curvature(features))
    return min(lr, stable), "what the features of a frozen backbone allow"


def with_layer_decay(recipe: Recipe, builder: Builder) -> Recipe:
    """Returns the recipe with its layer decay spelled out, and reports one that is below 1."""
    start = builder.start
    if recipe.layer_decay is not None or start is None or recipe.freeze == "backbone":
        return recipe
    if start.trained is not None and keeps_head(start.trained, builder.dataset.classes):
        return recipe.with_(layer_decay=1.0)
    model = builder.network(recipe, builder.batches(recipe))
    count = len(layers_of(model, head=builder.head_name(recipe, model)))
    decay = float(f"{_FIRST_LAYER ** (1 / max(1, count)):.4g}")
    builder.session.notify(
        f"layer_decay {decay:g}: each layer learns that much more slowly than the next, the first "
        f"of {count} at a tenth of the head's rate"
    )
    return recipe.with_(layer_decay=decay)


def begin_fine_tuning(
    recipe: Recipe,
    training: Training,
    builder: Builder,
    kernels: KernelPlan,
    *,
    most: int | None = None,
    seconds: float | None = None,
) -> tuple[Recipe, Training]:
    """Returns the recipe and the training after what comes before step 1.

    A head that does not know all classes is fitted to features; with a frozen backbone the
    training is one of the head on features. The state's weights are changed in place.

    Args:
        recipe: every setting but `views` spelled out.
        training: of the whole network.
        builder: that built it.
        kernels: the algorithms of the network's convolutions, in use.
        most: images to which a head is fitted; by default 10,000, or as many as a tenth of the
            budget allows.
        seconds: that fitting the head to them may take; by default a tenth of the budget.
    """
    start = builder.start
    if start is None:
        return recipe, training
    if seconds is None:
        seconds = math.inf if recipe.budget is None else _SHARE_TO_FIT * recipe.budget
    fits = start.trained is not None and not keeps_head(start.trained, builder.dataset.classes)
    keeps = recipe.freeze == "backbone" and _can_keep(recipe, builder)
    if not (fits or keeps):
        return recipe, training
    backbone = _backbone(recipe, training.state.model, builder)
    if backbone is None:
        builder.session.notify(
            "the head is not the end of this network: its features are not kept, and a fresh head "
            "is trained from the first step"
        )
        return recipe, training
    if keeps:
        maker = FeatureMaker(recipe=recipe, builder=builder, backbone=backbone, kernels=kernels)
        return _frozen(training, maker, seconds=seconds if fits else 0.0)
    index = _sampled(builder, most or _most_to_fit(recipe, training, builder))
    _measure_norms_(recipe, training, builder, len(index))
    features = gather_features(backbone, images_of(builder, index))
    _fit_head(training, backbone, features, index, builder, seconds=seconds)
    return recipe, training


def _measure_norms_(recipe: Recipe, training: Training, builder: Builder, count: int) -> None:
    """Gives the norms that are trained the statistics of the new images.

    Training normalises by these from its first step. A head that is fitted to features by those
    of the old images is wrong there, and as sure as it was fitted: with a class more, loss 3.
    """
    most = count if recipe.budget is None else max(_FEWEST_TO_FIT, count // _TO_MEASURE)
    measured = builder.measured
    replace(measured, most=min(measured.most, most)).measure_(training.state.model)


def _most_to_fit(recipe: Recipe, training: Training, builder: Builder) -> int:
    """Returns how many images' features the budget allows to fit a head to."""
    if recipe.budget is None:
        return _MOST_TO_FIT
    seconds = _SHARE_TO_FIT * recipe.budget
    image = builder.image_pace(training.state.model, seconds=_SHARE_TO_FIT * seconds)
    return max(_FEWEST_TO_FIT, min(_MOST_TO_FIT, int(seconds / image)))


def _frozen(training: Training, maker: FeatureMaker, *, seconds: float) -> tuple[Recipe, Training]:
    """Returns the recipe with its views spelled out, and the training of a head on features.

    Args:
        training: of the whole network.
        maker: of the features.
        seconds: that fitting the head to them may take; 0 for a head that stays.
    """
    builder = maker.builder
    made = maker.all()
    count = len(builder.dataset.splits["train"])
    some = made.views[0]
    which = counted(count, "image")
    if len(some) < count:
        which = f"{len(some):,} of {count:,} images, as many as the budget allows,"
    builder.session.notify(
        f"features of {which} in {counted(len(made.views), 'view')}, once ({made.seconds:.1f} s); "
        "the head is trained on them (--views sets their number)"
    )
    if seconds:
        images = made.images_of(builder.dataset.splits["train"])
        step = -(-len(images) // _MOST_TO_FIT)
        rows = some[::step]
        _fit_head(training, maker.backbone, rows, images[::step], builder, seconds=seconds)
    return maker.recipe.with_(views=made.setting), on_features(training, made, maker)


def _can_keep(recipe: Recipe, builder: Builder) -> bool:
    """Returns whether features can stand for images, and reports why where they cannot."""
    mixes = recipe.mixup > 0 or recipe.cutmix > 0
    several = builder.session.ranks.size > 1
    if mixes or several:
        why = "mixup and cutmix mix images" if mixes else "several processes train together"
        builder.session.notify(f"{why}: features are not kept, each step computes them")
    return not (mixes or several)


def _backbone(recipe: Recipe, model: torch.nn.Module, builder: Builder) -> Backbone | None:
    images = next(iter(_plain_batches(builder, 4)))
    head = builder.head_name(recipe, model)
    return backbone_of(model, head, images, precision=builder.precision)


def _sampled(builder: Builder, most: int) -> np.ndarray:
    """Returns indices of at most so many training images, evenly spaced."""
    index = builder.dataset.splits["train"]
    return index[:: -(-len(index) // most)]


def _plain_batches(builder: Builder, most: int) -> Iterator[Tensor]:
    """Returns training images (B, C, H, W) as they are, at most so many."""
    return images_of(builder, _sampled(builder, most))


def _fit_head(
    training: Training,
    backbone: Backbone,
    features: np.ndarray,
    index: np.ndarray,
    builder: Builder,
    *,
    seconds: float,
) -> None:
    """Fits the head to features (N, F) of the images (N,), in about so many seconds at most."""
    labels = torch.from_numpy(builder.dataset.labels[index]).to(builder.device)
    values = torch.from_numpy(np.array(features)).to(builder.device)
    penalty = fit_head_(backbone.end, values, labels, training.step.loss, seconds=seconds)
    state = training.state
    if state.ema is not None:
        state.ema.model.load_state_dict(state.model.state_dict())
    builder.session.notify(
        f"head first: fitted to the features of {len(values):,} images (L-BFGS, λ {penalty:g})"
    )
