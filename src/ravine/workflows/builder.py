"""Builds what is trained, from a recipe on one data set and device, as often as choices need it.

It decides nothing: `automatic.py` does.
"""

import math
import time
from dataclasses import dataclass, field
from typing import final

import torch
from torch import nn

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import SettingError
from ravine.core.seeds import generator_for, seed_for
from ravine.data.batches import (
    TrainingBatches,
    class_weights,
    evaluation_batches,
    positive_weights,
)
from ravine.data.dataset import Dataset
from ravine.nn.freezing import freeze_
from ravine.nn.head import head_name
from ravine.nn.init import init_
from ravine.nn.label_prior import set_label_prior_
from ravine.nn.measured_plan import shapes_of
from ravine.nn.use_kernels import use_kernels_
from ravine.ops.algorithm import ConvolutionShape, has_choice
from ravine.optim.transaction import AdaptiveClip
from ravine.training.distributed import GradientSync, ShardedEvaluator
from ravine.training.evaluation import Evaluation, batch_log_probabilities, summarise
from ravine.training.feature_batches import FeatureBatches
from ravine.training.loop import Training, Validation
from ravine.training.loss import LeastLoss, Loss, least_loss_of, loss_of
from ravine.training.measured_statistics import MeasuredStatistics
from ravine.training.plan import Speed
from ravine.training.speed import (
    pace_of_images,
    seconds_per_image,
    seconds_per_step,
    wait_for,
)
from ravine.training.state import TrainingState, start_state
from ravine.training.train_step import Forward, StepSettings
from ravine.weights.start import StartWeights, record_of
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session
from ravine.workflows.small_images import small_images_of

EVALUATION_BATCH = 500
_FEW_ON_A_CPU = 100  # as fast for an image as 500
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
_IMAGES_TO_FIT = 2000
_FOR_STEPS = 2 / 3  # of the time in which a speed is measured; the rest is for an evaluation
_TO_ASK, _TO_TIME = 2, 16  # images by which a network shows its head; at a time, timed
_CLOSING_SECONDS = 0.2  # the last checkpoint


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Builds networks, batches and training states.

    Attributes:
        dataset: what to train on.
        device: of this process.
        precision: of activations and products.
        session: whose ranks train together.
        code: the `module:callable`s that may be imported as the network.
        start: the trained weights that networks start from; None for fresh ones.
        compared: what was measured of the networks to choose from, by name and batch.
    """

    dataset: Dataset
    device: torch.device
    precision: torch.dtype
    session: Session
    code: AllowedCode
    start: StartWeights | None = None
    compared: dict[tuple[str, int], Speed] = field(default_factory=dict)

    @property
    def shown_batch(self) -> int:
        """Images at a time where time is measured, or progress shown: few on a CPU."""
        return _FEW_ON_A_CPU if self.device.type == "cpu" else EVALUATION_BATCH

    @property
    def evaluator(self) -> ShardedEvaluator:
        """Returns what evaluates images on all ranks."""
        return ShardedEvaluator(
            dataset=self.dataset,
            device=self.device,
            precision=self.precision,
            batch=EVALUATION_BATCH,
            ranks=self.session.ranks,
        )

    @property
    def measured(self) -> MeasuredStatistics:
        """Returns what measures batch norm's statistics anew."""
        return MeasuredStatistics(
            dataset=self.dataset,
            device=self.device,
            precision=self.precision,
            batch=EVALUATION_BATCH,
        )

    def training(self, recipe: Recipe) -> Training:
        """Returns what a recipe trains, before its first step."""
        batches = self.batches(recipe)
        model = self.network(recipe, batches)
        weights = self._class_weights(recipe)
        ranks = self.session.ranks
        of_classes = None if self.dataset.several else weights
        sync = GradientSync(ranks, model, class_weights=of_classes) if ranks.size > 1 else None
        return Training(
            state=self._state(recipe, model),
            forward=_compiled(model, self.device) if recipe.compile else model,
            batches=batches,
            step=StepSettings(
                loss=self.loss(recipe, weights),
                precision=self.precision,
                seed=recipe.seed,
                gradient_sync=sync,
                least_loss=self.least_loss(recipe, weights),
            ),
            schedules=recipe.build_schedules(),
            validate=self.validation(recipe),
            patience=recipe.patience,
            small=small_images_of(recipe),
            time_image=self.time_image,
        )

    def loss(self, recipe: Recipe, weights: torch.Tensor | None) -> Loss:
        """Returns the loss of logits (B, K) and targets: of one class an image, or several labels.

        Args:
            recipe: with label smoothing.
            weights: (K,) of `--balance loss`, or None.
        """
        several, smoothing = self.dataset.several, recipe.label_smoothing
        return loss_of(several=several, label_smoothing=smoothing, weights=weights)

    def least_loss(self, recipe: Recipe, weights: torch.Tensor | None) -> LeastLoss | None:
        """Returns the floor of `loss` with weights (K,) or None; None where labels stay hard: 0."""
        several, smoothing = self.dataset.several, recipe.label_smoothing
        if not (smoothing or recipe.mixup or recipe.cutmix):
            return None
        return least_loss_of(several=several, label_smoothing=smoothing, weights=weights)

    def batches(self, recipe: Recipe) -> TrainingBatches:
        """Returns the training batches of a recipe."""
        return TrainingBatches(
            self.dataset,
            recipe,
            batch=recipe.batch,
            seed=recipe.seed,
            device=self.device,
            balance=recipe.balance,
            ranks=self.session.ranks,
        )

    def network(self, recipe: Recipe, batches: TrainingBatches) -> nn.Module:
        """Returns the network with its initial weights, on the device."""
        # Layers that `init_` does not know keep what their constructor draws.
        torch.manual_seed(seed_for("constructors", seed=recipe.seed))
        model = self._constructed(recipe)
        if not any(p.requires_grad for p in model.parameters()):
            raise SettingError(f"{recipe.model} has no parameters that could be trained")
        model = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # A network of the user's own, or of timm, may bring weights that it was trained to.
        foreign = is_foreign(recipe)
        if foreign and self.device.type == "cpu":
            use_kernels_(model)
        scheme = "torch" if foreign and recipe.init == "auto" else recipe.init
        on_data = scheme == "lsuv" or (foreign and scheme != "torch")
        init_(
            model,
            scheme,
            activation=recipe.activation,
            generator=generator_for("initial weights", seed=recipe.seed),
            batch=batches.whole_batch_at(0).images if on_data else None,
            zero_residual=recipe.zero_init,
        )
        if self.dataset.several:
            self._set_prior(model, batches)
        if self.start is not None:
            head = self.head_name(recipe, model)
            self.start.put_into_(model, classes=self.dataset.classes, head=head)
            freeze_(model, "none" if recipe.freeze == "auto" else recipe.freeze, head=head)
        elif callable(fit_ := getattr(model, "fit_", None)):
            fit_(self._images(_IMAGES_TO_FIT))
        return model

    def _set_prior(self, model: nn.Module, batches: TrainingBatches) -> None:
        """Lets a network of several labels begin at their shares among the training images."""
        rows = self.dataset.labels[self.dataset.splits["train"]]
        shares = torch.from_numpy(rows.mean(0))
        if not set_label_prior_(model, shares, batches.whole_batch_at(0).images[:2]):
            self.session.notify(
                "the network's last layer does not set its logits by biases: they begin as they "
                "are drawn, not at the shares of the labels",
                warning=True,
            )

    def head_name(self, recipe: Recipe, model: nn.Module) -> str | None:
        """Returns the name of the layer that gives a network's logits."""
        return head_name(model, self._images(_TO_ASK) if is_foreign(recipe) else None)

    def started(self, recipe: Recipe, model: nn.Module) -> StartWeights | None:
        """Returns the weights that a network has now as those of its run's start, and reports them.

        Args:
            recipe: of the network.
            model: before step 1.
        """
        if self.start is None or self.start.trained is None:
            return self.start
        head = self.head_name(recipe, model)
        adapted = self.start.adapted(model, classes=self.dataset.classes, head=head)
        assert adapted is not None
        for note in adapted.notes:
            self.session.notify(note)
        stored = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
        record = record_of(self.start.trained, adapted) | dict(self.start.record)
        return StartWeights(stored=stored, record=record)

    def shapes(self, model: nn.Module) -> tuple[ConvolutionShape, ...]:
        """Returns the shapes of a network's convolutions that may have a choice of algorithms."""
        if self.device.type != "cpu" or not has_choice():
            return ()
        return shapes_of(
            model,
            channels=self.dataset.preprocessing.channels,
            image_size=self.dataset.preprocessing.image_size,
            precision=self.precision,
        )

    def has_norms(self, recipe: Recipe) -> bool:
        """Returns whether the network normalises. One of Ravine's own is described, not built."""
        with torch.device(self.device if is_foreign(recipe) else "meta"):
            model = self._constructed(recipe)
        return any(isinstance(module, NORMS) for module in model.modules())

    def validate(self, model: nn.Module) -> Evaluation:
        """Evaluates a network on the validation images."""
        index = self.dataset.splits["validation"]
        plain, _ = self.evaluator.class_probabilities(model, index)
        return summarise(plain, self.dataset.labels[index])

    def speed(self, recipe: Recipe, training: Training, *, seconds: float) -> Speed:
        """Measures a training step and an evaluation, in about `seconds`, warm-ups included.

        Where a run begins with small images, a step on those takes its part of the time.
        """
        step, small_step = self._steps(training, seconds=_FOR_STEPS * seconds)
        splits = self.dataset.splits
        model = training.state.model
        most = (1 - _FOR_STEPS) * seconds
        few, batch = 2 * EVALUATION_BATCH, self.shown_batch
        image = self.time_image(model, few, at_once=batch, seconds=most)
        alone = self.session.ranks.broadcast(image)[0]
        image = alone / self.session.ranks.size
        validation = len(splits.get("validation", ())) * image
        if isinstance(training.batches, FeatureBatches) and training.validate is not None:
            began = time.monotonic()
            training.validate(model)
            validation = time.monotonic() - began
        held_out = splits["test"] if "test" in splits else splits.get("validation", ())
        test = len(held_out) * image
        passes = 2 if recipe.tta else 1
        return Speed(
            step=step,
            validation=validation,
            final=test * passes + validation + _CLOSING_SECONDS,
            image=alone,
            statistics=len(self.measured.index) * alone,
            small_step=small_step,
            small_share=training.small.share if training.small else 0.0,
        )

    def time_image(
        self,
        model: nn.Module,
        count: int,
        *,
        at_once: int = EVALUATION_BATCH,
        seconds: float = math.inf,
    ) -> float:
        """Returns the seconds in which this process evaluates an image, timed on training images.

        Args:
            model: on the device.
            count: of the images, at most.
            at_once: images of a batch; fewer keep closer to the seconds of a slow network.
            seconds: that it may take, about.
        """
        some = evaluation_batches(
            self.dataset.images,
            self.dataset.splits["train"][:count],
            preprocessing=self.dataset.preprocessing,
            batch=at_once,
            device=self.device,
        )
        return seconds_per_image(
            model, some, precision=self.precision, mirrored=False, seconds=seconds
        )

    def _steps(self, training: Training, *, seconds: float) -> tuple[float, float]:
        """Returns the seconds of a step on full images, and of one on small ones; 0 without."""
        ranks, small = self.session.ranks, training.small is not None
        each = seconds / (2 if small else 1)
        step = seconds_per_step(training, seconds=each, ranks=ranks)
        other = seconds_per_step(training, seconds=each, ranks=ranks, small=True) if small else 0.0
        step, other = ranks.broadcast(step, other)
        return step, other

    def image_pace(self, model: nn.Module, *, seconds: float) -> float:
        """Measures how long an image takes through a network in evaluation mode.

        Args:
            model: on the device.
            seconds: that it may take; one image passes in any case.
        """

        def forward(count: int) -> None:
            several, images = self.dataset.several, self._images(count)
            batch_log_probabilities(
                model, images, precision=self.precision, mirrored=False, several=several
            )
            wait_for(self.device)

        return pace_of_images(forward, seconds=seconds, most=_TO_TIME)

    def seconds_left(self, budget: float) -> float:
        """Returns what is left of the budget, the same on all ranks."""
        return self.session.ranks.broadcast(budget - self.session.clock.elapsed())[0]

    def _constructed(self, recipe: Recipe) -> nn.Module:
        return recipe.build_model(
            classes=len(self.dataset.classes),
            channels=self.dataset.preprocessing.channels,
            image_size=self.dataset.preprocessing.image_size,
            code=self.code,
        )

    def _class_weights(self, recipe: Recipe) -> torch.Tensor | None:
        if recipe.balance != "loss":
            return None
        labels = self.dataset.labels[self.dataset.splits["train"]]
        if self.dataset.several:
            return positive_weights(labels).to(self.device)
        return class_weights(labels, len(self.dataset.classes)).to(self.device)

    def _state(self, recipe: Recipe, model: nn.Module) -> TrainingState:
        return start_state(
            model,
            recipe.build_optimizer(model, layer_decay=recipe.layer_decay),
            ema=recipe.ema,
            clip=AdaptiveClip() if recipe.clip == "auto" else recipe.clip,
            clip_by=recipe.clip_by,
            takes_back=recipe.on_divergence != "stop",
            # A fold's validation images are its test: none of its weights are chosen on them.
            keeps_best=recipe.keep_best and recipe.fold is None,
        )

    def validation(self, recipe: Recipe) -> Validation | None:
        """Returns what evaluates on the validation images; None where there are none."""
        if "validation" not in self.dataset.splits:
            return None
        if recipe.norm_statistics == "measured":
            return self.measured.within(self.validate)
        return self.validate

    def _images(self, most: int) -> torch.Tensor:
        """Returns training images as they are, (B, C, S, S), of all classes, at most so many."""
        index = self.dataset.splits["train"]
        batches = evaluation_batches(
            self.dataset.images,
            index[:: max(1, len(index) // most)],
            preprocessing=self.dataset.preprocessing,
            batch=most,
            device=self.device,
        )
        return next(batches).images


def is_foreign(recipe: Recipe) -> bool:
    """Returns whether the network is the user's own or timm's, and not one of Ravine's."""
    return ":" in recipe.model or recipe.model.startswith("timm/")


def _compiled(model: nn.Module, device: torch.device) -> Forward:
    # On a GPU through CUDA graphs: small networks wait for launches there.
    forward: Forward = torch.compile(
        model, mode="reduce-overhead" if device.type == "cuda" else "default"
    )
    return forward
