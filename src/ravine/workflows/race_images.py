"""Training images of a race without augmentation, the same at every call."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ravine.core.events import Observer
from ravine.core.progress import Progress
from ravine.core.seeds import generator_for
from ravine.data.batches import evaluation_batches
from ravine.data.opening import open_dataset
from ravine.workflows.augmentation import passes_once, with_augmentation, with_mixing
from ravine.workflows.race_plan import DEFAULT_EPOCHS, RaceSpec
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session


def prepared_for_jobs(spec: RaceSpec, observe: Observer, progress: Progress) -> RaceSpec:
    """Returns the spec with the augmentation that the data allows, decided once for all jobs.

    The images are decoded on the way, into the cache that the jobs read.

    Args:
        spec: of the race.
        observe: receives what was decided.
        progress: called while decoding.
    """
    recipe = Recipe.of(spec.base)
    dataset = open_dataset(recipe, seed=spec.race.seed, progress=progress)
    if not recipe.is_left_to_ravine:
        return spec
    seeded = recipe.with_(seed=spec.race.seed)
    if not all(passes_once(Recipe.of(spec.settings_of(name))) for name in spec.race.candidates):
        seeded = seeded.with_(views=None, freeze="none")  # some candidate is shown augmented images
    session = Session(observers=[observe])
    chosen = with_augmentation(seeded, dataset, session)
    chosen = with_mixing(chosen, dataset, session, lambda: _passes_for_mixing(spec))
    return replace(spec, base={**spec.base, "augment": chosen.augment, "cutmix": chosen.cutmix})


def _passes_for_mixing(spec: RaceSpec) -> float:
    """Returns the passes that every job makes over its images; 0 where mixing is not for all.

    Where a budget decides, they are measured later and differ between candidates.
    """
    named = {name for changes in spec.race.candidates.values() for name in changes}
    if spec.race.budget is not None or named & {"mixup", "cutmix", "augment", "weights"}:
        return 0.0
    return spec.race.epochs or DEFAULT_EPOCHS


def training_images(spec: RaceSpec, *, count: int, batch: int) -> list[tuple[Tensor, Tensor]]:
    """Returns whole batches without augmentation: (B, C, H, W) float32 and targets, (B,) or (B, K).

    Args:
        spec: of the race, whose seed chooses the images.
        count: of the images, or fewer if there are fewer.
        batch: B.
    """
    dataset = open_dataset(Recipe.of(spec.base), seed=spec.race.seed)
    index = dataset.splits["train"]
    order = torch.randperm(len(index), generator=generator_for("race", seed=spec.race.seed))
    whole = max(1, min(count, len(index)) // batch) * batch
    found = evaluation_batches(
        dataset.images,
        index[order[:whole].numpy()],
        preprocessing=dataset.preprocessing,
        batch=batch,
        device=torch.device("cpu"),
        labels=np.asarray(dataset.labels),
    )
    return [(b.images, b.targets) for b in found]
