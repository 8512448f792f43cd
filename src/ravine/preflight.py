"""Before training: networks of several settings side by side on the user's own data.

Wires data, networks and the variance theory; it computes nothing itself.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.core.device import pick_device
from ravine.core.progress import Progress, no_progress
from ravine.core.seeds import generator_for, seed_for
from ravine.data.batches import evaluation_batches
from ravine.data.dataset import Dataset
from ravine.data.opening import open_dataset
from ravine.diagnosis.variance import VarianceProfile, variance_profile
from ravine.nn.init import init_
from ravine.recipe import Recipe
from ravine.reports.variance import draw_variance
from ravine.runs.rows import write_json

SEVERAL = ("model", "activation", "norm", "init")
_IMAGES = 64
_DEFAULT_MODEL = "resnet-cifar-20"


def compare_variance(
    data: str | None,
    settings: Mapping[str, Any],
    *,
    out: Path,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Returns a row for each network, and writes variance.png, .svg and .json into `out`.

    Args:
        data: as `ravine.train` takes it.
        settings: of `Recipe`; model, activation, norm and init may be lists with commas.
        out: a folder; files of an earlier comparison are replaced.
        progress: told of slow work.

    Raises:
        RavineError: a mistake in settings or data; nothing is written.
    """
    recipes = _variants({**settings, **({} if data is None else {"data": data})})
    for recipe in recipes.values():
        recipe.check_network()
    first = next(iter(recipes.values()))
    dataset = open_dataset(first, seed=first.seed, progress=progress)
    device = pick_device(first.device)
    images, labels = _batch(dataset, first, device)
    rows = []
    for number, (name, recipe) in enumerate(recipes.items()):
        progress("networks", number, len(recipes))
        model = _network(recipe, dataset, images)
        profile = variance_profile(model, images, _loss(labels))
        rows.append(_row(name, profile))
    out.mkdir(parents=True, exist_ok=True)
    draw_variance(rows, [out / "variance.png", out / "variance.svg"])
    write_json(out / "variance.json", {"networks": rows})
    return rows


def _variants(settings: Mapping[str, Any]) -> dict[str, Recipe]:
    """Returns a recipe for each combination, named by what differs."""
    given = {"model": _DEFAULT_MODEL, **settings}
    lists = {name: str(given[name]).split(",") for name in SEVERAL if name in given}
    lists = {name: [one.strip() for one in values] for name, values in lists.items()}
    shown = [name for name, values in lists.items() if len(values) > 1] or ["model"]
    found = {}
    for values in itertools.product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        found[", ".join(chosen[name] for name in shown)] = Recipe.of({**given, **chosen})
    return found


def _batch(dataset: Dataset, recipe: Recipe, device: torch.device) -> tuple[Tensor, Tensor]:
    index = dataset.splits["train"]
    order = torch.randperm(len(index), generator=generator_for("check", seed=recipe.seed))
    chosen = index[order[:_IMAGES].numpy()]
    found = evaluation_batches(
        dataset.images,
        chosen,
        preprocessing=dataset.preprocessing,
        batch=_IMAGES,
        device=device,
        labels=dataset.labels,
    )
    batch = next(found)
    return batch.images, batch.targets.long()


def _network(recipe: Recipe, dataset: Dataset, images: Tensor) -> nn.Module:
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        torch.manual_seed(seed_for("constructors", seed=recipe.seed))
        model = recipe.build_model(
            classes=len(dataset.classes),
            channels=dataset.preprocessing.channels,
            image_size=dataset.preprocessing.image_size,
        ).to(images.device)
    return init_(
        model,
        recipe.init,
        activation=recipe.activation,
        generator=generator_for("initial weights", seed=recipe.seed),
        batch=images if recipe.init == "lsuv" else None,
        zero_residual=recipe.zero_init,
    )


def _loss(labels: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda logits: F.cross_entropy(logits, labels)


def _row(name: str, profile: VarianceProfile) -> dict[str, Any]:
    return {
        "name": name,
        "layers": [_finite(asdict(layer)) for layer in profile.weighted],
        "not_predicted": sorted(
            {layer.kind for layer in profile.layers if layer.forward_predicted is None}
        ),
        "factors": {
            direction: _finite(
                {
                    "measured": profile.factor(direction),
                    "predicted": profile.factor(direction, predicted=True),
                }
            )
            for direction in ("forward", "backward")
        },
    }


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values with None for NaN and infinity, which JSON does not have."""
    lost = {k for k, v in values.items() if isinstance(v, float) and not math.isfinite(v)}
    return {k: None if k in lost else v for k, v in values.items()}
