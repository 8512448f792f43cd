"""From a recipe and a data set to everything that a run needs: nothing is written, no step kept.

What is left to Ravine (`auto`) is decided by `automatic.py`; `builder.py` builds.
"""

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import nn

from ravine.core.allowed_code import NO_CODE, AllowedCode
from ravine.core.device import device_of_rank, pick_device, pick_precision
from ravine.core.errors import SettingError
from ravine.core.memory import keep_freed_memory
from ravine.data.dataset import Dataset
from ravine.models.table import describe_stem
from ravine.ops.kernel_plan import KernelPlan, use_algorithms
from ravine.training.distributed import ShardedEvaluator
from ravine.training.feature_batches import FeatureBatches
from ravine.training.loop import Training
from ravine.training.measured_statistics import MeasuredStatistics
from ravine.training.plan import Plan
from ravine.training.state import TrainingState
from ravine.training.step_memory import StepMemory, measure_step_memory, refuse_too_large
from ravine.weights.start import StartWeights
from ravine.workflows.augmentation import with_augmentation
from ravine.workflows.automatic import resolve_plan, resolve_settings
from ravine.workflows.builder import Builder
from ravine.workflows.fine_tuning import begin_fine_tuning
from ravine.workflows.kernel_choice import PlanRequest, decide_kernels
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session
from ravine.workflows.start_choice import choose_start


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """The objects of a run.

    Attributes:
        recipe: every setting spelled out.
        plan: the steps to go.
        device: of this process.
        precision: of activations and products.
        training: what is trained, on what, and how.
        measured: measures batch norm's statistics; None where the running ones are used.
        evaluator: evaluates images on all ranks.
        memory: what a training step takes.
        stem: how the network takes in images of this size, in words; may be empty.
        kernels: the algorithm of each convolution; `use_algorithms(kernels.algorithms)` while it
            is trained.
        start: the trained weights that it starts from, as it has them before step 1; or None.
    """

    recipe: Recipe
    plan: Plan
    device: torch.device
    precision: torch.dtype
    training: Training
    measured: MeasuredStatistics | None
    evaluator: ShardedEvaluator
    memory: StepMemory
    stem: str
    kernels: KernelPlan
    start: StartWeights | None = None

    @property
    def state(self) -> TrainingState:
        """The state of `training`."""
        return self.training.state


def assemble(
    recipe: Recipe,
    dataset: Dataset,
    session: Session,
    *,
    plan: Plan | None,
    kernels: KernelPlan | None = None,
    code: AllowedCode = NO_CODE,
    start: StartWeights | None = None,
    features: bool = True,
) -> Assembly:
    """Returns the objects of a run.

    Args:
        recipe: settings, some of them left to Ravine.
        dataset: what to train on.
        session: whose ranks train together, whose observers receive every choice, and whose clock
            is that of the budget.
        plan: of a run that goes on or is repeated; None to make one.
        kernels: of a run that goes on, or decided by a race; None to decide.
        code: the `module:callable`s that may be imported as the network.
        start: the trained weights that it starts from; None for fresh ones.
        features: whether a head over a frozen backbone is trained on features; else every step
            runs the whole network.
    """
    _refuse_idle_patience(recipe, dataset)
    builder = _builder(recipe, dataset, session, code=code, start=start)
    recipe = _spelled_out(recipe, builder, goes_on=plan is not None)
    recipe, builder, unused = _with_start(recipe, builder)
    recipe = resolve_settings(recipe, builder)
    training = builder.training(recipe)
    memory = _step_memory(recipe, training, builder)
    if kernels is None:
        kernels = decide_kernels(plan_request(recipe, builder, training.state.model), session)
    with use_algorithms(kernels.algorithms):
        if features:
            recipe, training = begin_fine_tuning(recipe, training, builder, kernels)
        start = builder.started(recipe, training.state.model) or unused
        recipe, plan = resolve_plan(recipe, plan, training, builder)
    if not isinstance(training.batches, FeatureBatches):
        training = replace(training, validate=builder.validation(recipe))
    return Assembly(
        recipe=recipe,
        plan=plan,
        device=builder.device,
        precision=builder.precision,
        training=training,
        measured=builder.measured if recipe.norm_statistics == "measured" else None,
        evaluator=builder.evaluator,
        memory=memory,
        stem=describe_stem(recipe.model, dataset.preprocessing.image_size),
        kernels=kernels,
        start=start,
    )


def _builder(
    recipe: Recipe,
    dataset: Dataset,
    session: Session,
    *,
    code: AllowedCode,
    start: StartWeights | None,
) -> Builder:
    """Returns the builder of a recipe's networks on the device of this process."""
    device = device_of_rank(pick_device(recipe.device), session.ranks)
    if device.type == "cpu":
        keep_freed_memory()
    return Builder(
        dataset=dataset,
        device=device,
        precision=pick_precision(recipe.precision, device),
        session=session,
        code=code,
        start=start,
    )


def _refuse_idle_patience(recipe: Recipe, dataset: Dataset) -> None:
    """Raises `SettingError` for patience without images to judge by."""
    if recipe.patience and "validation" not in dataset.splits:
        raise SettingError(
            f"patience {recipe.patience}: there are no validation images to judge by; hold some "
            "out with --validation 0.1"
        )


def _spelled_out(recipe: Recipe, builder: Builder, *, goes_on: bool) -> Recipe:
    """Returns the recipe with device, precision and augmentation, and reports the last.

    A run of before there were small images `goes_on` with full ones.
    """
    recipe = with_augmentation(recipe, builder.dataset, builder.session)
    return recipe.with_(
        device=builder.device.type if recipe.device == "auto" else recipe.device,
        precision=str(builder.precision).removeprefix("torch."),
        **({"small_size": 0} if goes_on and recipe.small_size == "auto" else {}),
        **_form_of_labels(recipe, builder.dataset),
    )


def _form_of_labels(recipe: Recipe, dataset: Dataset) -> dict[str, str]:
    """Returns the settings that read the labels as they were read, where images have several."""
    if not dataset.several:
        if recipe.threshold != "auto":
            raise SettingError(
                f"threshold {recipe.threshold:g} has no effect: the images have one class each; "
                "leave it out"
            )
        return {}
    separator = dataset.label_separator or recipe.label_separator
    return {"labels_per_image": "several", **({"label_separator": separator} if separator else {})}


def _with_start(recipe: Recipe, builder: Builder) -> tuple[Recipe, Builder, StartWeights | None]:
    """Returns the recipe with what is frozen spelled out, and the builder that starts so.

    Of a run that starts fresh after all, also the record of why.
    """
    recipe, compared = choose_start(recipe, builder)
    for line in compared:
        builder.session.notify(line)
    start = builder.start
    if start is None:
        return recipe, builder, None
    record = {**start.record, **({"choice": compared} if compared else {})}
    if recipe.weights is None and start.trained is not None:
        unused = {"source": start.trained.source, "taken": False, **record}
        return recipe, replace(builder, start=None), StartWeights(record=unused)
    return recipe, replace(builder, start=replace(start, record=record)), None


def _step_memory(recipe: Recipe, training: Training, builder: Builder) -> StepMemory:
    """Returns what a step takes; raises `SettingError` for a batch that does not fit."""
    memory = measure_step_memory(
        training,
        builder.device,
        channels=builder.dataset.preprocessing.channels,
        image_size=builder.dataset.preprocessing.image_size,
    )
    batch = min(recipe.batch, len(builder.dataset.splits["train"]))
    images_of_rank = -(-batch // builder.session.ranks.size)
    refuse_too_large(memory, recipe.model, images_of_rank)
    if doubt := memory.doubt(images_of_rank):
        builder.session.notify(doubt)
    return memory


def plan_request(recipe: Recipe, builder: Builder, model: nn.Module) -> PlanRequest:
    """Returns what the kernel plan of a recipe's network is wanted for."""
    named = recipe.convolution
    return PlanRequest(
        shapes=builder.shapes(model),
        precision="bfloat16" if builder.precision is torch.bfloat16 else "float32",
        batch=max(1, recipe.batch // builder.session.ranks.size),
        budget=recipe.budget,
        measures=named == "auto" and not recipe.compile,
        named=None if named == "auto" or named == "guess" else named,
    )
