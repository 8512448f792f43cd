"""From a recipe and a data set to everything that the loop needs.

What is left to Ravine (`auto`) is decided here, once, told, and spelled out in the recipe that
comes back: network, augmentation, learning rate, precision, number of steps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ravine.core.device import device_of_rank, pick_device, pick_precision
from ravine.core.events import Notice, Observer
from ravine.core.memory import keep_freed_memory
from ravine.core.ranks import ALONE, Ranks
from ravine.core.seeds import generator_for, seed_for
from ravine.data.augment import choose_operations
from ravine.data.batches import TrainingBatches, class_weights, evaluation_batches
from ravine.data.dataset import Dataset
from ravine.models.table import describe_stem
from ravine.nn.init import init_
from ravine.nn.use_kernels import use_kernels_
from ravine.optim.range_test import range_test
from ravine.optim.transaction import AdaptiveClip
from ravine.schedules.scheduler import Curve
from ravine.training.clock import Clock
from ravine.training.distributed import GradientSync, Looks
from ravine.training.evaluation import Evaluation, summarise
from ravine.training.loss import cross_entropy
from ravine.training.network_choice import choose_for_budget, choose_for_epochs, companions
from ravine.training.plan import Plan, Speed, plan_for_budget, plan_for_epochs
from ravine.training.speed import seconds_per_image, seconds_per_step
from ravine.training.state import TrainingState, start_state
from ravine.training.train_step import Forward, StepRules
from ravine.workflows.recipe import Recipe

EVALUATION_BATCH = 500
_SECONDS_TO_MEASURE = 3.0
_SECONDS_TO_COMPARE = 0.5
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
_IMAGES_TO_FIT = 2000
_CLOSING_SECONDS = 0.5  # the last checkpoint, the weights, the mistakes' pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The objects of a run."""

    recipe: Recipe
    plan: Plan
    device: torch.device
    precision: torch.dtype
    state: TrainingState
    forward: Forward
    batches: TrainingBatches
    rules: StepRules
    schedules: Mapping[str, Curve]
    validate: Callable[[nn.Module], Evaluation] | None
    stem: str
    looks: Looks
    ranks: Ranks


def set_up(
    recipe: Recipe,
    dataset: Dataset,
    *,
    plan: Plan | None,
    tell: Observer,
    clock: Clock,
    ranks: Ranks = ALONE,
) -> Setup:
    """Returns the objects of a run; nothing is written and no step of training is kept.

    Args:
        recipe: settings, some of them left to Ravine.
        dataset: what to train on.
        plan: of a run that goes on or is repeated; None to make one.
        tell: hears of every choice.
        clock: of the budget.
        ranks: the processes that train together; each calls this.
    """
    device = device_of_rank(pick_device(recipe.device), ranks)
    precision = pick_precision(recipe.precision, device)
    if device.type == "cpu":
        keep_freed_memory()
    operations, reason = choose_operations(recipe, classes=dataset.classes)
    tell(Notice(text=reason))
    recipe = recipe.with_(
        device=device.type if recipe.device == "auto" else recipe.device,
        precision=str(precision).removeprefix("torch."),
        augment=",".join(operations) or "none",
    )
    bench = _Bench(dataset=dataset, device=device, precision=precision, clock=clock, ranks=ranks)
    if recipe.model == "auto":
        recipe = _with_network(recipe, bench, tell)
    recipe = _with_companions(recipe, tell)
    stem = describe_stem(recipe.model, dataset.preprocessing.image_size)
    if stem:
        tell(Notice(text=stem))
    if recipe.lr is None or recipe.lr == "auto":
        recipe = _with_rate(recipe, bench, tell)
    parts = bench.parts(recipe)
    if plan is None:
        plan = _make_plan(recipe, parts, bench)
    return Setup(
        recipe=recipe,
        plan=plan,
        device=device,
        precision=precision,
        state=parts.state,
        forward=parts.forward,
        batches=parts.batches,
        rules=parts.rules,
        schedules=recipe.build_schedules(),
        validate=bench.validate if "validation" in dataset.splits else None,
        stem=stem,
        looks=bench.looks,
        ranks=ranks,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    state: TrainingState
    forward: Forward
    batches: TrainingBatches
    rules: StepRules


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """Builds the objects of a recipe on this data and device, as often as choices need it."""

    dataset: Dataset
    device: torch.device
    precision: torch.dtype
    clock: Clock
    ranks: Ranks

    @property
    def looks(self) -> Looks:
        """How images are evaluated."""
        return Looks(
            dataset=self.dataset,
            device=self.device,
            precision=self.precision,
            batch=EVALUATION_BATCH,
            ranks=self.ranks,
        )

    def seconds_left(self, budget: float) -> float:
        """Returns what is left of the budget, the same for all processes."""
        return self.ranks.broadcast(budget - self.clock.elapsed())[0]

    def parts(self, recipe: Recipe) -> _Parts:
        batches = TrainingBatches(
            self.dataset,
            recipe,
            batch=recipe.batch,
            seed=recipe.seed,
            device=self.device,
            balance=recipe.balance,
            ranks=self.ranks,
        )
        model = self._model(recipe, batches)
        optimizer = recipe.build_optimizer(model)
        weights = None
        if recipe.balance == "loss":
            labels = self.dataset.labels[self.dataset.splits["train"]]
            weights = class_weights(labels, len(self.dataset.classes)).to(self.device)
        return _Parts(
            state=start_state(
                model,
                optimizer,
                ema=recipe.ema,
                clip=AdaptiveClip() if recipe.clip == "auto" else recipe.clip,
                clip_by=recipe.clip_by,
            ),
            forward=_compiled(model, self.device) if recipe.compile else model,
            batches=batches,
            rules=StepRules(
                loss=cross_entropy(label_smoothing=recipe.label_smoothing, class_weights=weights),
                precision=self.precision,
                seed=recipe.seed,
                gradient_sync=GradientSync(self.ranks, model, class_weights=weights)
                if self.ranks.size > 1
                else None,
            ),
        )

    def _model(self, recipe: Recipe, batches: TrainingBatches) -> nn.Module:
        # Layers that `init_` does not know keep what their constructor draws.
        torch.manual_seed(seed_for("constructors", seed=recipe.seed))
        model = recipe.build_model(
            classes=len(self.dataset.classes),
            channels=self.dataset.preprocessing.channels,
            image_size=self.dataset.preprocessing.image_size,
        )
        model = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # A network of the user's own, or of timm, may bring weights that it was trained to.
        foreign = ":" in recipe.model or recipe.model.startswith("timm/")
        if foreign and self.device.type == "cpu":
            use_kernels_(model)
        init_(
            model,
            "torch" if foreign and recipe.init == "auto" else recipe.init,
            activation=recipe.activation,
            generator=generator_for("initial weights", seed=recipe.seed),
            batch=batches.whole_batch_at(0).images if recipe.init == "lsuv" else None,
            zero_residual=recipe.zero_init,
        )
        if callable(fit_ := getattr(model, "fit_", None)):
            fit_(self._first_images())
        return model

    def _first_images(self) -> torch.Tensor:
        """Returns training images as they are, (B, C, S, S), for layers that are fitted to them."""
        index = self.dataset.splits["train"]
        batches = evaluation_batches(
            self.dataset.images,
            index[:: max(1, len(index) // _IMAGES_TO_FIT)],  # of all classes
            preprocessing=self.dataset.preprocessing,
            batch=_IMAGES_TO_FIT,
            device=self.device,
        )
        return next(batches).images

    def validate(self, model: nn.Module) -> Evaluation:
        """Evaluates on the validation images."""
        index = self.dataset.splits["validation"]
        plain, _ = self.looks.class_probabilities(model, index)
        return summarise(plain, self.dataset.labels[index])

    def speed(self, recipe: Recipe, parts: _Parts, *, seconds: float) -> Speed:
        """Measures a training step and an evaluation."""
        step = seconds_per_step(
            parts.state,
            parts.forward,
            parts.batches,
            rules=parts.rules,
            seconds=seconds,
            ranks=self.ranks,
        )
        splits = self.dataset.splits
        few = evaluation_batches(
            self.dataset.images,
            splits["train"][: 2 * EVALUATION_BATCH],
            preprocessing=self.dataset.preprocessing,
            batch=EVALUATION_BATCH,
            device=self.device,
        )
        image = seconds_per_image(parts.state.model, few, precision=self.precision, mirrored=False)
        step, image = self.ranks.broadcast(step, image / self.ranks.size)
        validation = len(splits.get("validation", ())) * image
        test = len(splits["test"]) * image if "test" in splits else validation
        looks = 2 if recipe.tta else 1
        return Speed(
            step=step, validation=validation, final=test * looks + validation + _CLOSING_SECONDS
        )


def _compiled(model: nn.Module, device: torch.device) -> Forward:
    # On a GPU through CUDA graphs: small networks wait for launches there.
    forward: Forward = torch.compile(
        model, mode="reduce-overhead" if device.type == "cuda" else "default"
    )
    return forward


def _with_network(recipe: Recipe, bench: _Bench, tell: Observer) -> Recipe:
    size = bench.dataset.preprocessing.image_size
    if recipe.budget is None:
        choice = choose_for_epochs(size)
    else:
        budget = recipe.budget

        def epochs_of(name: str) -> float:
            candidate = _with_companions(recipe.with_(model=name), lambda _: None)
            parts = bench.parts(candidate)
            speed = bench.speed(candidate, parts, seconds=_SECONDS_TO_COMPARE)
            plan = plan_for_budget(
                bench.seconds_left(budget),
                speed,
                steps_per_epoch=parts.batches.steps_per_epoch,
            )
            return plan.total_steps / plan.steps_per_epoch

        residual = not recipe.skip or recipe.zero_init or recipe.norm != "batch"
        choice = choose_for_budget(size, epochs_of, budget=budget, residual=residual)
    tell(Notice(text=choice.reason))
    return recipe.with_(model=choice.model)


def _with_companions(recipe: Recipe, tell: Observer) -> Recipe:
    """Fills in what the network is best trained with, where the user has said nothing."""
    wanted = companions(recipe.model, optimizer=recipe.optimizer)
    free = {k: v for k, v in wanted.items() if k not in recipe.model_fields_set}
    if "lr" in free:  # it belongs to the batch of the table
        free["lr"] *= free.get("batch", recipe.batch) / wanted["batch"]
    if free:
        shown = {k: v if isinstance(v, str) else f"{v:g}" for k, v in free.items()}
        told = ", ".join(f"{name} {value}" for name, value in shown.items())
        tell(Notice(text=f"{recipe.model} is trained with {told}, unless told otherwise"))
    return recipe.with_(**free)


def _with_rate(recipe: Recipe, bench: _Bench, tell: Observer) -> Recipe:
    if recipe.lr is None:
        model = bench.parts(recipe).state.model
        normalised = any(isinstance(module, _NORMS) for module in model.modules())
        rate = recipe.default_lr(batch=recipe.batch, normalised=normalised)
        where = "" if normalised else ", which has no normalisation"
        tell(
            Notice(
                text=f"learning rate {rate:.3g}: the default of {recipe.optimizer} for batches of "
                f"{recipe.batch} and this network{where}"
            )
        )
        return recipe.with_(lr=rate)
    parts = bench.parts(recipe.with_(lr=None))
    found = range_test(
        parts.state.model,
        parts.state.optimizer,
        parts.rules.loss,
        (parts.batches.whole_batch_at(step) for step in range(10**9)),
        precision=bench.precision,
    )
    rate = bench.ranks.broadcast(found.suggestion)[0]
    tell(Notice(text=f"learning rate {rate:.3g}: by a range test"))
    return recipe.with_(lr=rate)


def _make_plan(recipe: Recipe, parts: _Parts, bench: _Bench) -> Plan:
    steps_per_epoch = parts.batches.steps_per_epoch
    if recipe.budget is None:
        return plan_for_epochs(recipe.epochs or 1.0, steps_per_epoch=steps_per_epoch)
    speed = bench.speed(recipe, parts, seconds=_SECONDS_TO_MEASURE)
    left = bench.seconds_left(recipe.budget)
    return plan_for_budget(left, speed, steps_per_epoch=steps_per_epoch)
