"""What a run from trained weights does before step 1: the head first, features once.

Its learning rates and its layer decay are decided here too. `start_choice` decides what is frozen.
"""

import time
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch

from ravine.core.seeds import seed_for
from ravine.data.augment_settings import AugmentSettings
from ravine.data.batches import TrainingBatches, evaluation_batches
from ravine.nn.freezing import layers_of
from ravine.ops.kernel_plan import KernelPlan
from ravine.runs.kernel_plan_file import plan_to_values
from ravine.training.feature_batches import FeatureBatches, FeatureValidation
from ravine.training.feature_cache import FeatureCache, feature_key
from ravine.training.features import Backbone, backbone_of, gather_features, largest_curvature
from ravine.training.head_fit import fit_head_
from ravine.training.loop import Training
from ravine.weights.adapt import class_rows
from ravine.weights.trained_weights import TrainedWeights
from ravine.workflows.builder import EVALUATION_BATCH, Builder
from ravine.workflows.recipe import Recipe

FINE_TUNING_LR = 0.1  # of the learning rate from fresh weights
_FIRST_LAYER = 0.1  # learning rate of the first layer, of the last one's
_MOST_TO_FIT = 10_000  # images on which a head is fitted
_TO_JUDGE = 512  # images whose features decide the learning rate
_MOST_VIEWS = 8
_SHARE_OF_VIEWS = 0.2  # of the budget, for all views together


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
    most: int = _MOST_TO_FIT,
) -> tuple[Recipe, Training]:
    """Returns the recipe and the training after what comes before step 1.

    A head that does not know all classes is fitted to features; with a frozen backbone the
    training is one of the head on features. The state's weights are changed in place.

    Args:
        recipe: every setting but `views` spelled out.
        training: of the whole network.
        builder: that built it.
        kernels: the algorithms of the network's convolutions, in use.
        most: images to which a head is fitted.
    """
    start = builder.start
    if start is None:
        return recipe, training
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
    maker = _Features(recipe=recipe, builder=builder, backbone=backbone, kernels=kernels)
    began = time.monotonic()
    first = maker.view(0) if keeps else gather_features(backbone, _plain_batches(builder, most))
    seconds = time.monotonic() - began
    if fits:
        _fit_head(training, backbone, first, builder, most=most)
    if not keeps:
        return recipe, training
    recipe = recipe.with_(views=recipe.views or _views_within(recipe, seconds))
    return recipe, _on_features(recipe, training, maker)


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


def _plain_batches(builder: Builder, most: int) -> Any:
    """Returns training images (B, C, H, W) as they are, at most so many."""
    return _images(builder, _sampled(builder, most))


def _images(builder: Builder, index: np.ndarray) -> Any:
    batches = evaluation_batches(
        builder.dataset.images,
        index,
        preprocessing=builder.dataset.preprocessing,
        batch=EVALUATION_BATCH,
        device=builder.device,
    )
    return (batch.images for batch in batches)


def _fit_head(
    training: Training, backbone: Backbone, features: np.ndarray, builder: Builder, *, most: int
) -> None:
    """Fits the head to features (N, F), of all training images or of a sample of them."""
    index = builder.dataset.splits["train"]
    if len(features) < len(index):
        index = _sampled(builder, most)
    step = -(-len(index) // most)
    labels = torch.from_numpy(builder.dataset.labels[index[::step]]).to(builder.device)
    values = torch.from_numpy(np.array(features[::step])).to(builder.device)
    penalty = fit_head_(backbone.end, values, labels, training.step.loss)
    state = training.state
    if state.ema is not None:
        state.ema.model.load_state_dict(state.model.state_dict())
    builder.session.notify(
        f"head first: fitted to the features of {len(values):,} images (L-BFGS, λ {penalty:g})"
    )


def _views_within(recipe: Recipe, seconds: float) -> int:
    """Returns how many views fit: the first took `seconds`."""
    if recipe.augment == "none":
        return 1
    if recipe.budget is None:
        return int(min(_MOST_VIEWS, max(1.0, recipe.epochs or 1.0)))
    return int(np.clip(_SHARE_OF_VIEWS * recipe.budget / max(seconds, 1e-3), 1, _MOST_VIEWS))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Features:
    """Makes the features of a run, or finds them in the cache."""

    recipe: Recipe
    builder: Builder
    backbone: Backbone
    kernels: KernelPlan

    def view(self, number: int) -> np.ndarray:
        """Returns the features (N, F) of a view of the training images; the first is as it is."""
        index = self.builder.dataset.splits["train"]
        return self._cache.load_or_make(
            f"train-{number}",
            len(index),
            lambda: gather_features(
                self.backbone,
                _images(self.builder, index) if number == 0 else self._augmented(index, number),
            ),
        )

    def validation(self) -> np.ndarray:
        """Returns the features (M, F) of the validation images."""
        index = self.builder.dataset.splits["validation"]
        return self._cache.load_or_make(
            "validation",
            len(index),
            lambda: gather_features(self.backbone, _images(self.builder, index)),
        )

    def _augmented(self, index: np.ndarray, number: int) -> Any:
        batches = self.builder.batches(self.recipe)
        for block, first in enumerate(range(0, len(index), EVALUATION_BATCH)):
            seed = seed_for(f"feature view {number}", seed=self.recipe.seed, index=block)
            yield batches.augmented_view(index[first : first + EVALUATION_BATCH], seed=seed)

    @property
    def _cache(self) -> FeatureCache:
        """The cache of all that decides these features."""
        recipe = self.recipe
        about = {
            "backbone": _digest(self.backbone),
            "data": self.builder.dataset.fingerprint,
            "kernels": plan_to_values(self.kernels),
            "precision": str(self.builder.precision),
            "device": str(self.builder.device),
            "threads": torch.get_num_threads(),
            "seed": recipe.seed,
            "model": recipe.model,
            "augment": AugmentSettings.of(
                {name: getattr(recipe, name) for name in AugmentSettings.model_fields}
            ).model_dump(),
        }
        return FeatureCache.at(feature_key(about), keep=recipe.cache)


def _digest(backbone: Backbone) -> str:
    """Returns a hash of all weights and buffers but the head's."""
    own = {id(tensor) for tensor in backbone.head.state_dict(keep_vars=True).values()}
    rest = {
        name: tensor.detach()
        for name, tensor in backbone.model.state_dict(keep_vars=True).items()
        if id(tensor) not in own
    }
    return TrainedWeights(tensors=rest, source="backbone").fingerprint()


def _on_features(recipe: Recipe, training: Training, maker: _Features) -> Training:
    dataset, backbone = maker.builder.dataset, maker.backbone
    began = time.monotonic()
    views = [maker.view(number) for number in range(recipe.views or 1)]
    maker.builder.session.notify(
        f"features of {len(views[0]):,} images in {len(views)} views, once "
        f"({time.monotonic() - began:.1f} s); the head is trained on them (--views sets their "
        "number)"
    )
    assert isinstance(training.batches, TrainingBatches)
    validate = None
    if "validation" in dataset.splits:
        head = maker.builder.head_name(recipe, training.state.model)
        assert head is not None
        validate = FeatureValidation(
            head,
            backbone.end,
            maker.validation(),
            dataset.labels[dataset.splits["validation"]],
            precision=maker.builder.precision,
        )
    batches = FeatureBatches(
        training.batches,
        views,
        index=dataset.splits["train"],
        labels=dataset.labels,
        device=maker.builder.device,
    )
    return replace(training, batches=batches, forward=backbone.end, validate=validate)
