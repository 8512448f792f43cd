"""Training images of a race as they are, the same at every call."""

import numpy as np
import torch
from torch import Tensor

from ravine.core.seeds import generator_for
from ravine.data.batches import evaluation_batches
from ravine.data.opening import open_dataset
from ravine.workflows.race_plan import Entry
from ravine.workflows.recipe import Recipe


def training_images(entry: Entry, *, count: int, batch: int) -> list[tuple[Tensor, Tensor]]:
    """Returns `count` images without augmentation in batches: (B, C, H, W) and labels (B,).

    Only whole batches, as many as there are images for.
    """
    dataset = open_dataset(Recipe.of(entry.base), seed=entry.race.seed)
    index = dataset.splits["train"]
    order = torch.randperm(len(index), generator=generator_for("race", seed=entry.race.seed))
    whole = max(1, min(count, len(index)) // batch) * batch
    found = evaluation_batches(
        dataset.images,
        index[order[:whole].numpy()],
        preprocessing=dataset.preprocessing,
        batch=batch,
        device=torch.device("cpu"),
        labels=np.asarray(dataset.labels),
    )
    return [(b.images, b.labels) for b in found]
