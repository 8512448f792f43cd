"""When batch norm's statistics are measured anew, and on which images.

The running statistics average about 1/momentum steps. Where these are a large share of the run,
the weights have moved since; `ravine.nn.precise_batch_norm` measures those of the final weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from torch import nn

from ravine.core.counted import counted
from ravine.data.batches import evaluation_batches
from ravine.data.dataset import Dataset
from ravine.nn.precise_batch_norm import (
    measure_norm_statistics_,
    norms_with_statistics,
    preserve_statistics,
)
from ravine.training.evaluation import Evaluation
from ravine.training.plan import Plan

SHORT = 1000  # steps: 100 times what running statistics average at torch's momentum of 0.1
_IMAGES = 1000  # at most


def resolve_statistics(
    setting: str, model: nn.Module, plan: Plan, *, small: bool = False
) -> Literal["running", "measured"]:
    """Returns whether a run's statistics are measured; with `auto` in runs under `SHORT`.

    It follows from the plan made before step 1, never from a later correction.

    Args:
        setting: auto, running or measured.
        model: the network.
        plan: of the run.
        small: the run begins with small images, whose statistics full ones do not have.
    """
    if not norms_with_statistics(model):
        return "running"
    short = plan.total_steps < SHORT or small
    return "measured" if setting == "measured" or (setting == "auto" and short) else "running"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStatistics:
    """Measures a network's statistics on training images without augmentation.

    Every process measures on the same images, and so has the same statistics.

    Attributes:
        dataset: of the images.
        device: of the network.
        precision: of activations and products.
        batch: images at a time, at most.
        most: images to measure on.
    """

    dataset: Dataset
    device: torch.device
    precision: torch.dtype
    batch: int
    most: int = _IMAGES

    @property
    def index(self) -> np.ndarray:
        """The images (N,) int64: evenly spaced, at most `most`."""
        index = self.dataset.splits["train"]
        return index[:: -(-len(index) // self.most)]

    def reason(self, steps: int, *, small: bool = False) -> str:
        """Returns the line that says that a run of so many steps measures.

        Args:
            steps: of the run.
            small: it begins with small images.
        """
        few = f"{counted(steps, 'step')} {'is' if steps == 1 else 'are'} few"
        why = "the first images are small" if small and steps >= SHORT else few
        return (
            f"{why}: batch norm's statistics are measured on {len(self.index)} training images "
            "before each evaluation and at the end"
        )

    def measure_(self, model: nn.Module) -> None:
        """Replaces the model's running statistics by measured ones."""
        index = self.index
        parts = -(-len(index) // self.batch)
        batches = evaluation_batches(
            self.dataset.images,
            index,
            preprocessing=self.dataset.preprocessing,
            batch=-(-len(index) // parts),  # of nearly equal size: none of a single image
            device=self.device,
        )
        with torch.autocast(
            self.device.type, self.precision, enabled=self.precision != torch.float32
        ):
            measure_norm_statistics_(model, (batch.images for batch in batches), call=model)

    def within(
        self, evaluate: Callable[[nn.Module], Evaluation]
    ) -> Callable[[nn.Module], Evaluation]:
        """Returns `evaluate` with measured statistics; the model keeps its running ones."""

        def measured(model: nn.Module) -> Evaluation:
            with preserve_statistics(model):
                self.measure_(model)
                return evaluate(model)

        return measured
