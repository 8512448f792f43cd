"""Before training: networks of several settings side by side on the user's own data.

It wires data, networks, the variance theory and the checks, and computes nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ravine.checks.examine import examine
from ravine.checks.learning_rate import learns_in
from ravine.core.allowed_code import AllowedCode
from ravine.core.atomic import make_folder
from ravine.core.device import pick_device, pick_precision
from ravine.core.errors import SettingError
from ravine.core.events import Observer
from ravine.core.paths import usable_path
from ravine.core.progress import Progress, no_progress
from ravine.core.seeds import generator_for, seed_for
from ravine.data.audit import report_audit
from ravine.data.batches import evaluation_batches
from ravine.data.dataset import Dataset
from ravine.data.opening import open_dataset
from ravine.kernels.sleeping_threads import sleeps_when_busy
from ravine.nn.freezing import freeze_
from ravine.nn.head import head_name
from ravine.nn.init import init_
from ravine.nn.label_prior import set_label_prior_
from ravine.propagation.variance import VarianceProfile, variance_profile
from ravine.reports.variance_figure import draw_variance
from ravine.runs.rows import write_json
from ravine.training.loss import Loss, binary_cross_entropy, cross_entropy
from ravine.weights.start import StartWeights
from ravine.workflows.builder import NORMS, is_foreign
from ravine.workflows.check_variants import variants
from ravine.workflows.fine_tuning import FINE_TUNING_LR
from ravine.workflows.network_defaults import batch_choice, lr_of_batch, with_model_defaults
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session
from ravine.workflows.start_weights import with_settings_of
from ravine.workflows.weights_source import open_weights

_IMAGES = 64
_BATCHES = 16  # for the checks; the variances are those of the first


@sleeps_when_busy()
def compare_variance(
    data: str | None,
    settings: Mapping[str, Any],
    *,
    out: Path,
    labels_probe: bool = False,
    learn: bool = True,
    progress: Progress = no_progress,
    observer: Observer | None = None,
) -> list[dict[str, Any]]:
    """Returns a row for each network, and writes variance.png, .svg and .json into `out`.

    A row holds the variance of every layer, findings (`findings.finding.Finding.row`), and the
    learning rate that a range test suggests next to the one that training would start from.

    Args:
        data: as `ravine.train` takes it.
        settings: of `Recipe`; model, activation, norm and init may be lists with commas.
        out: a folder; files of an earlier comparison are replaced.
        labels_probe: also ask whether the labels belong to the images.
        learn: also overfit eight images and test the learning rate.
        progress: is called during slow work.
        observer: receives what the data was taken for, and its audit.

    Raises:
        RavineError: a mistake in settings or data; nothing is written.
    """
    out = usable_path("out", out)
    recipes = variants({**settings, **({} if data is None else {"data": data})})
    recipes, start = _with_weights(recipes, observer)
    for recipe in recipes.values():
        recipe.check_network()
    first = next(iter(recipes.values()))
    if first.folds is not None and first.fold is None:
        raise SettingError(
            f"folds {first.folds}: a check looks at one network; name its fold (--fold 1), or "
            "leave --folds out"
        )
    dataset = open_dataset(first, seed=first.seed, progress=progress)
    if observer is not None:
        report_audit(dataset, observer)
    device = pick_device(first.device)
    batches = _batches(dataset, first, device)
    images, _ = batches[0]
    loss = _loss(several=dataset.several)
    rows = []
    for number, (name, given) in enumerate(recipes.items()):
        progress("networks", number, len(recipes))
        recipe, model = _as_trained(given, dataset, images, start)
        asked = {"labels_probe": labels_probe, "learn": learn}
        rows.append(_row(name, model, recipe, batches, loss, **asked))
    make_folder(out)
    draw_variance(rows, [out / "variance.png", out / "variance.svg"])
    write_json(out / "variance.json", {"networks": rows})
    return rows


def _row(
    name: str,
    model: nn.Module,
    recipe: Recipe,
    batches: list[tuple[Tensor, Tensor]],
    loss: Loss,
    **asked: bool,
) -> dict[str, Any]:
    """Returns the row of a network; the model is trained on the way."""
    profile, checked = _checked(model, loss, recipe, batches, **asked)
    if profile is None:  # the checks ended before the network was measured
        images, targets = batches[0]
        profile = variance_profile(model, images, lambda logits: loss(logits, targets))
    return {**profile.row(name), **checked}


def _with_weights(
    recipes: Mapping[str, Recipe], observer: Observer | None
) -> tuple[dict[str, Recipe], StartWeights | None]:
    """Returns the recipes with what their trained weights bring along, and these weights."""
    first = next(iter(recipes.values()))
    if first.weights is None:
        return dict(recipes), None
    session = Session(observers=() if observer is None else (observer,))
    trained = open_weights(first.weights, code=AllowedCode.of(typed=[first.model]))
    found = {name: with_settings_of(r, trained, session.notify) for name, r in recipes.items()}
    return found, StartWeights(trained=trained)


def _batches(dataset: Dataset, recipe: Recipe, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Returns training images (B, C, H, W) and targets, (B,) or (B, K), of a random sample."""
    index = dataset.splits["train"]
    order = torch.randperm(len(index), generator=generator_for("check", seed=recipe.seed))
    chosen = index[order[: _BATCHES * _IMAGES].numpy()]
    found = evaluation_batches(
        dataset.images,
        chosen,
        preprocessing=dataset.preprocessing,
        batch=_IMAGES,
        device=device,
        labels=dataset.labels,
    )
    return [(batch.images, batch.targets) for batch in found]


def _checked(
    model: nn.Module,
    loss: Loss,
    recipe: Recipe,
    batches: list[tuple[Tensor, Tensor]],
    *,
    labels_probe: bool,
    learn: bool,
) -> tuple[VarianceProfile | None, dict[str, Any]]:
    """Returns variances, and findings with learning rates; the model is trained on the way."""
    optimizer = recipe.build_optimizer(model)
    done = examine(
        model.train(),
        loss,
        batches,
        optimizer,
        labels_probe=labels_probe,
        learn=learn,
        precision=pick_precision(recipe.precision, batches[0][0].device),
    )
    rates = done.rates
    suggested = rates.suggestion if rates is not None and learns_in(rates) else None
    return done.variance, {
        "findings": [one.row() for one in done.findings],
        "rate": {"training": recipe.lr, "suggested": suggested},
    }


def _as_trained(
    given: Recipe, dataset: Dataset, images: Tensor, start: StartWeights | None
) -> tuple[Recipe, nn.Module]:
    """Returns the recipe with the batch and learning rate of its training, and its network."""
    chosen = batch_choice(given, images=len(dataset.splits["train"]))
    recipe, _ = with_model_defaults(given, chosen, several=dataset.several)
    model = _network(recipe, dataset, images, start)
    if isinstance(recipe.lr, float):
        return recipe, model
    normalised = any(isinstance(module, NORMS) for module in model.modules())
    tuned = recipe.weights is not None and recipe.freeze != "backbone"
    lr = lr_of_batch(recipe, chosen, normalised=normalised)
    return recipe.with_(lr=lr * FINE_TUNING_LR if tuned else lr), model


def _network(
    recipe: Recipe, dataset: Dataset, images: Tensor, start: StartWeights | None
) -> nn.Module:
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        torch.manual_seed(seed_for("constructors", seed=recipe.seed))
        model = recipe.build_model(
            classes=len(dataset.classes),
            channels=dataset.preprocessing.channels,
            image_size=dataset.preprocessing.image_size,
            code=AllowedCode.of(typed=[recipe.model]),
        ).to(images.device)
    init_(
        model,
        "torch" if is_foreign(recipe) and recipe.init == "auto" else recipe.init,
        activation=recipe.activation,
        generator=generator_for("initial weights", seed=recipe.seed),
        batch=images,
        zero_residual=recipe.zero_init,
    )
    if dataset.several:
        shares = torch.from_numpy(dataset.labels[dataset.splits["train"]].mean(0))
        set_label_prior_(model, shares, images[:2])
    if start is not None:
        head = head_name(model, images[:2] if is_foreign(recipe) else None)
        start.put_into_(model, classes=dataset.classes, head=head)
        freeze_(model, "none" if recipe.freeze == "auto" else recipe.freeze, head=head)
    return model


def _loss(*, several: bool) -> Loss:
    """Returns the mean loss of a batch, without label smoothing."""
    if several:
        return binary_cross_entropy(label_smoothing=0.0, positive_weights=None)
    return cross_entropy(label_smoothing=0.0, class_weights=None)
