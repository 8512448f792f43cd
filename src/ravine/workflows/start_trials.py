"""Short trials of a frozen backbone, fine-tuning and fresh weights, within seconds by the clock.

    frozen      the head is fitted to features; this is nearly what a whole run would reach
    fine-tuned  all layers learn, the head first
    fresh       the same network without the weights

A few images through the network tell how long everything takes. Images and steps are as many as
then fit; where the fewest do not, nothing is tried. Each short run has a schedule down to its end,
and its plan is corrected by the clock like that of any run with a budget.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import final

from ravine.core.counted import counted
from ravine.core.errors import TrainingDiverged
from ravine.ops.kernel_plan import guessed_plan, use_algorithms
from ravine.training.budget import Budget, plan_for_budget
from ravine.training.clock import Clock
from ravine.training.evaluation import Evaluation
from ravine.training.loop import Training, fit
from ravine.training.plan import Speed
from ravine.training.speed import seconds_per_step
from ravine.workflows.automatic import resolve_settings
from ravine.workflows.builder import Builder
from ravine.workflows.fine_tuning import begin_fine_tuning
from ravine.workflows.recipe import Recipe

_SHARE_OF_PACE, _SHARE_OF_STEP = 0.1, 0.05  # of the time, for measuring an image and a step
_SHARE_VALIDATED, _SHARE_FITTED = 0.06, 0.2  # of the time: one evaluation, the head's features
_SHARE_OF_HEAD = 0.05  # of the time, for fitting the head to them
_MOST_VALIDATED, _MOST_FITTED = 1000, 2000  # images
_FEWEST = 50  # images for either, where there are so many
_FEWEST_STEPS, _MEASURED_STEPS = 2, 2  # of a short run; to measure one
_STEP_OF_IMAGES = 3.0  # a step's time, of that of its images through the network: forward, backward
_SURELY_TOO_SLOW = 0.5  # epochs of the budget, by that estimate


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StartTrial:
    """What a short run of one way has reached.

    Attributes:
        way: frozen, fine-tuned or fresh.
        evaluation: on validation images.
        epochs: that it took; 0 for a head that was fitted alone.
    """

    way: str
    evaluation: Evaluation
    epochs: float = 0.0

    def text(self) -> str:
        """Returns it in words."""
        seen = f" after {counted(self.epochs, 'epoch', form='.2g')}" if self.epochs else ""
        return f"{self.way} {self.evaluation.score:.1%}{seen}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StartTrials:
    """What was found within the time.

    Attributes:
        epochs_of_budget: of the whole network that the whole budget allows.
        step: seconds of a training step, measured, or estimated where nothing was tried.
        frozen: the head alone; None where nothing was tried, for want of time.
        tuned: all layers; None where there was no time.
        fresh: without the weights; None where there was no time.
        seconds: that it took.
    """

    epochs_of_budget: float
    step: float
    frozen: StartTrial | None = None
    tuned: StartTrial | None = None
    fresh: StartTrial | None = None
    seconds: float = 0.0


def try_starts(recipe: Recipe, builder: Builder, *, share: float) -> StartTrials:
    """Returns what short trials reach within a share of the budget.

    Args:
        recipe: with a budget; network and batch may be open.
        builder: with the trained weights, and a session that reports nothing.
        share: of the budget, for all trials together.
    """
    assert recipe.budget is not None
    # A range test of the learning rate would take a hundred steps.
    plain = recipe.with_(freeze="none", lr=None if recipe.lr == "auto" else recipe.lr)
    return _Trials(recipe=plain, builder=builder, seconds=share * recipe.budget).run()


@final
@dataclass(slots=True, kw_only=True)
class _Trials:
    """The trials, and the time that is left for them."""

    recipe: Recipe
    builder: Builder
    seconds: float
    clock: Clock = field(default_factory=Clock)

    def run(self) -> StartTrials:
        recipe = resolve_settings(self.recipe, self.builder)
        training = self.builder.training(recipe)
        kernels = guessed_plan(self.builder.shapes(training.state.model), "float32")
        with use_algorithms(kernels.algorithms):
            seconds = _SHARE_OF_PACE * self.seconds
            image = self.builder.image_pace(training.state.model, seconds=seconds)
            found = self._estimated(training, image)
            if not self._has_time(training, image) or found.epochs_of_budget < _SURELY_TOO_SLOW:
                return replace(found, seconds=self.clock.elapsed())
            self._validate_on(self._count(_SHARE_VALIDATED, image, _MOST_VALIDATED))
            most = self._count(_SHARE_FITTED, image, _MOST_FITTED)
            head = _SHARE_OF_HEAD * self.seconds
            _, training = begin_fine_tuning(
                recipe, training, self.builder, kernels, most=most, seconds=head
            )
            found = self._tried(training, self._validated(training))
        return replace(found, seconds=self.clock.elapsed())

    def _tried(self, training: Training, frozen: tuple[StartTrial, float]) -> StartTrials:
        """Returns what all layers and fresh weights reach, beside a frozen backbone's result."""
        trial, took = frozen
        closing = 2 * took  # the statistics of the norms are measured, then images evaluated
        step = seconds_per_step(
            training, seconds=_SHARE_OF_STEP * self.seconds, warm_up=1, fewest=1
        )
        found = replace(self._of_step(training, step), frozen=trial)
        spare = (self._left() - 2 * closing) / 2
        tuned = self._short_run("fine-tuned", training, step, lambda: spare)
        if tuned is None:
            return found
        fresh = self._fresh(step, closing)
        return replace(found, tuned=tuned, fresh=fresh)

    def _fresh(self, step: float, closing: float) -> StartTrial | None:
        if self._left() - closing < _FEWEST_STEPS * step:
            return None
        self.builder = replace(self.builder, start=None)
        recipe = resolve_settings(self.recipe.with_(weights=None), self.builder)
        training = self.builder.training(recipe)
        return self._short_run("fresh", training, step, lambda: self._left() - closing)

    def _short_run(
        self, way: str, training: Training, step: float, allowed: Callable[[], float]
    ) -> StartTrial | None:
        """Returns what a run of so many seconds reaches; None where they are too few."""
        seconds, per_epoch = allowed(), training.batches.steps_per_epoch
        speed = Speed(step=step, validation=0.0, final=0.0)
        plan = plan_for_budget(seconds, speed, steps_per_epoch=per_epoch)
        if seconds < _FEWEST_STEPS * step:
            return None
        budget = Budget(seconds=seconds)
        try:
            plan = fit(replace(training, validate=None, small=None), plan, budget=budget)
            evaluation, _ = self._evaluated(training, statistics=True)
        except TrainingDiverged:
            evaluation = Evaluation(count=0, accuracy=0.0, interval=None, loss=float("nan"))
        return StartTrial(way=way, evaluation=evaluation, epochs=plan.end / per_epoch)

    def _validated(self, training: Training) -> tuple[StartTrial, float]:
        evaluation, seconds = self._evaluated(training, statistics=False)
        return StartTrial(way="frozen", evaluation=evaluation), seconds

    def _evaluated(self, training: Training, *, statistics: bool) -> tuple[Evaluation, float]:
        """Returns an evaluation on the few validation images, and the seconds that it took."""
        began, builder = time.monotonic(), self.builder
        few = len(builder.dataset.splits["validation"])
        measured = replace(builder.measured, most=few)
        evaluate = measured.within(builder.validate) if statistics else builder.validate
        return evaluate(training.state.model), time.monotonic() - began

    def _left(self) -> float:
        return self.seconds - self.clock.elapsed()

    def _estimated(self, training: Training, image: float) -> StartTrials:
        return self._of_step(training, _STEP_OF_IMAGES * image * self._batch(training))

    def _of_step(self, training: Training, step: float) -> StartTrials:
        assert self.recipe.budget is not None
        epochs = self.recipe.budget / (step * training.batches.steps_per_epoch)
        return StartTrials(epochs_of_budget=epochs, step=step)

    def _batch(self, training: Training) -> float:
        images = len(self.builder.dataset.splits["train"])
        return images / training.batches.steps_per_epoch

    def _has_time(self, training: Training, image: float) -> bool:
        """Returns whether the fewest images and steps fit into the time that is left."""
        splits = self.builder.dataset.splits
        few = {name: min(_FEWEST, len(splits[name])) for name in ("train", "validation")}
        steps = 2 * _FEWEST_STEPS + _MEASURED_STEPS
        images = few["train"] + 5 * few["validation"]  # three evaluations, two of the statistics
        images += int(steps * _STEP_OF_IMAGES * self._batch(training))
        return images * image <= self._left()

    def _count(self, share: float, image: float, most: int) -> int:
        """Returns how many images pass the network in a share of the time."""
        return max(_FEWEST, min(most, int(share * self.seconds / image)))

    def _validate_on(self, most: int) -> None:
        """Keeps at most so many validation images, evenly spaced."""
        dataset = self.builder.dataset
        index = dataset.splits["validation"]
        few = {**dataset.splits, "validation": index[:: -(-len(index) // most)]}
        self.builder = replace(self.builder, dataset=replace(dataset, splits=few))
