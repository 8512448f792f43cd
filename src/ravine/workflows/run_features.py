"""The features of a run with a frozen backbone: from the cache, or made within its budget.

The images as they are come first, slice by slice (`training.feature_slices`), until all are done or
the budget has no time for another; then augmented views, as many as a fifth of the budget allows.
How far that went stands in the recipe as `views`, so that a run that goes on has the same features.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from ravine.core.seeds import seed_for
from ravine.data.augment_settings import AugmentSettings
from ravine.data.batches import TrainingBatches, evaluation_batches
from ravine.ops.kernel_plan import KernelPlan
from ravine.runs.kernel_plan_file import plan_to_values
from ravine.training.feature_batches import FeatureBatches, FeatureValidation
from ravine.training.feature_cache import FeatureCache, feature_key
from ravine.training.feature_slices import (
    rows_in_order,
    slice_of,
    slices_for,
    slices_of_share,
    stand_ins,
)
from ravine.training.features import Backbone, gather_features
from ravine.training.loop import Training
from ravine.weights.trained_weights import TrainedWeights
from ravine.workflows.builder import Builder
from ravine.workflows.recipe import Recipe

_MOST_VIEWS = 8
_SHARE_OF_VIEWS = 0.2  # of the budget, for all augmented views together
_SHARE_OF_HEAD = 0.25  # of the budget, that is left to fitting and training the head
_WHAT = "images through the backbone"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunFeatures:
    """What a head is trained on.

    Attributes:
        views: V arrays (R, F) float32 of the training images.
        slices: of the images that are in them.
        every: slices that all images are dealt into.
        validation: (M, F) float32, or None.
        seconds: that it took.
    """

    views: Sequence[np.ndarray]
    slices: int
    every: int
    validation: np.ndarray | None
    seconds: float

    @property
    def setting(self) -> float:
        """The value of `views` that gives the same features."""
        return len(self.views) if self.slices == self.every else self.slices / self.every

    def images_of(self, index: np.ndarray) -> np.ndarray:
        """Returns the images (R,) of the rows, of the training images (N,)."""
        return index[rows_in_order(len(index), self.slices)]


@final
@dataclass(slots=True, kw_only=True)
class FeatureMaker:
    """Makes the features of a run, or finds them in the cache.

    Attributes:
        recipe: with every setting but `views` spelled out.
        builder: of the run.
        backbone: whose features are made.
        kernels: the algorithms of its convolutions, in use.
    """

    recipe: Recipe
    builder: Builder
    backbone: Backbone
    kernels: KernelPlan
    _pace: float = field(default=0.0)  # seconds for an image, lately

    def all(self) -> RunFeatures:
        """Returns the features of the recipe's `views`, or of as many as fit into the budget."""
        began = time.monotonic()
        validation = self._validation()
        plain, slices = self._plain()
        every = slices_for(len(self._train))
        views = [plain]
        if slices == every:
            for number in range(1, self._most_views()):
                if not self._has_time_for_a_view(len(views)):
                    break
                views.append(self._view(number))
        return RunFeatures(
            views=views,
            slices=slices,
            every=every,
            validation=validation,
            seconds=time.monotonic() - began,
        )

    @property
    def _train(self) -> np.ndarray:
        return self.builder.dataset.splits["train"]

    def _plain(self) -> tuple[np.ndarray, int]:
        """Returns the features (R, F) of training images as they are, and the number of slices."""
        wanted, count = self.recipe.views, len(self._train)
        parts: list[np.ndarray] = []
        for number in range(slices_of_share(1 if wanted is None else wanted, count)):
            index = slice_of(self._train, number)
            if wanted is None and number and not self._has_time_for(len(index)):
                break
            parts.append(self._of_images(f"train-0-{number}", index))
        return np.concatenate(parts), len(parts)

    def _validation(self) -> np.ndarray | None:
        index = self.builder.dataset.splits.get("validation")
        return None if index is None else self._of_images("validation", index)

    def _view(self, number: int) -> np.ndarray:
        """Returns the features (N, F) of an augmented view of the training images."""
        name, count = f"train-{number}", len(self._train)
        found = self._augmented_cache.load_or_make(
            name, count, lambda: self._made(self._augmented(number), count)
        )
        return found[rows_in_order(count, slices_for(count))]

    def _of_images(self, name: str, index: np.ndarray) -> np.ndarray:
        return self._plain_cache.load_or_make(
            name, len(index), lambda: self._made(images_of(self.builder, index), len(index))
        )

    def _made(self, batches: Iterator[Tensor], count: int) -> np.ndarray:
        began, done = time.monotonic(), 0

        def counted() -> Iterator[Tensor]:
            nonlocal done
            for images in batches:
                yield images
                done += len(images)
                self.builder.session.progress(_WHAT, done, count)

        found = gather_features(self.backbone, counted())
        self._pace = (time.monotonic() - began) / count
        return found

    def _augmented(self, number: int) -> Iterator[Tensor]:
        batches, size = self.builder.batches(self.recipe), self.builder.shown_batch
        for block, first in enumerate(range(0, len(self._train), size)):
            seed = seed_for(f"feature view {number}", seed=self.recipe.seed, index=block)
            yield batches.augmented_view(self._train[first : first + size], seed=seed)

    def _most_views(self) -> int:
        recipe = self.recipe
        if recipe.views is not None:
            return int(recipe.views)
        if recipe.augment == "none":
            return 1
        return _MOST_VIEWS if recipe.budget else int(min(_MOST_VIEWS, max(1, recipe.epochs or 1)))

    def _has_time_for_a_view(self, made: int) -> bool:
        budget, count = self.recipe.budget, len(self._train)
        if self.recipe.views is not None or budget is None:
            return True
        if not self._pace:  # all so far was in the cache
            some = self._train[: self.builder.shown_batch]
            self._made(images_of(self.builder, some), len(some))
        allowed = made * self._pace * count <= _SHARE_OF_VIEWS * budget
        return allowed and self._has_time_for(count)

    def _has_time_for(self, count: int) -> bool:
        """Returns whether so many images may still pass: the end of the run needs time too."""
        budget, splits = self.recipe.budget, self.builder.dataset.splits
        if budget is None:
            return True
        last = len(splits["test"] if "test" in splits else splits.get("validation", ()))
        rest = _SHARE_OF_HEAD * budget + last * self._pace
        return self.builder.seconds_left(budget) - rest >= count * self._pace

    @property
    def _plain_cache(self) -> FeatureCache:
        """The cache of features of images as they are: the same for every seed."""
        builder = self.builder
        about = {
            "backbone": _digest(self.backbone),
            "data": builder.dataset.fingerprint,
            "kernels": plan_to_values(self.kernels),
            "precision": str(builder.precision),
            "device": str(builder.device),
            "threads": torch.get_num_threads(),
            "model": self.recipe.model,
        }
        return FeatureCache.at(feature_key(about), keep=self.recipe.cache)

    @property
    def _augmented_cache(self) -> FeatureCache:
        """The cache of augmented views."""
        recipe, plain = self.recipe, self._plain_cache
        augment = AugmentSettings.of(
            {name: getattr(recipe, name) for name in AugmentSettings.model_fields}
        ).model_dump()
        name = "" if plain.folder is None else plain.folder.name
        key = feature_key({"plain": name, "seed": recipe.seed, "augment": augment})
        return FeatureCache.at(key, keep=recipe.cache)


def images_of(builder: Builder, index: np.ndarray) -> Iterator[Tensor]:
    """Yields images (B, C, H, W) as they are, of indices (N,), a few at a time."""
    batches = evaluation_batches(
        builder.dataset.images,
        index,
        preprocessing=builder.dataset.preprocessing,
        batch=builder.shown_batch,
        device=builder.device,
    )
    return (batch.images for batch in batches)


def on_features(training: Training, made: RunFeatures, maker: FeatureMaker) -> Training:
    """Returns the training of the head on features, in place of the whole network's."""
    builder, backbone = maker.builder, maker.backbone
    dataset = builder.dataset
    assert isinstance(training.batches, TrainingBatches)
    validate = None
    if made.validation is not None:
        head = builder.head_name(maker.recipe, training.state.model)
        assert head is not None
        validate = FeatureValidation(
            head,
            backbone.end,
            made.validation,
            dataset.labels[dataset.splits["validation"]],
            precision=builder.precision,
        )
    index = dataset.splits["train"]
    shown = stand_ins(len(index), made.slices)
    order = rows_in_order(len(index), made.slices)
    row_of = np.zeros(len(index), np.int64)
    row_of[order] = np.arange(len(order))
    batches = FeatureBatches(
        training.batches,
        made.views,
        index=index,
        rows=row_of[shown],
        shown=index[shown],
        labels=dataset.labels,
        device=builder.device,
    )
    return replace(training, batches=batches, forward=backbone.end, validate=validate)


def _digest(backbone: Backbone) -> str:
    """Returns a hash of all weights and buffers but the head's."""
    own = {id(tensor) for tensor in backbone.head.state_dict(keep_vars=True).values()}
    rest = {
        name: tensor.detach()
        for name, tensor in backbone.model.state_dict(keep_vars=True).items()
        if id(tensor) not in own
    }
    return TrainedWeights(tensors=rest, source="backbone").fingerprint()
