"""The export of a run: its network, its validation images and its facts passed to exports."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from ravine.core.errors import RunError, SettingError
from ravine.core.progress import Progress, no_progress
from ravine.core.seeds import generator_for
from ravine.data.batches import evaluation_batches
from ravine.data.dataset import Dataset, ImageArray, Preprocessing
from ravine.data.network_images import open_reading
from ravine.data.opening import open_dataset
from ravine.data.reading import read_again
from ravine.exports.card import CardFacts, card_of
from ravine.exports.decisions import DecisionRule
from ravine.exports.exportable import Exportable, plain_copy
from ravine.exports.facts import Facts
from ravine.exports.own_network import answering
from ravine.exports.proof import Proof
from ravine.exports.proved import Batch, ProofImages, Wanted, write_proved
from ravine.kernels.sleeping_threads import sleeps_when_busy
from ravine.runs.folder import RunFolder
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_json
from ravine.training.model_file import TrainedModel
from ravine.workflows.data_paths import located, refuse_other_data
from ravine.workflows.recipe import Recipe

_BATCH = 64
_CALIBRATION = 512  # training images
_TOLD = ("model", "optimizer", "lr", "batch", "epochs", "budget", "weights", "precision", "seed")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Images:
    """Images that a run is proved on, (N, S, S, C) uint8, and those to calibrate on."""

    source: str
    images: ImageArray
    index: np.ndarray
    labels: np.ndarray
    calibration: np.ndarray


@sleeps_when_busy()
def export_run(
    folder: RunFolder,
    trained: TrainedModel,
    path: Path,
    wanted: Wanted,
    *,
    with_preprocessing: bool = False,
    data: str | None = None,
    labels: str | None = None,
    progress: Progress = no_progress,
) -> Proof:
    """Writes the network of a run into the folder `path`; see `Run.export`."""
    wanted.refuse_missing_packages()
    _refuse_preprocessing(with_preprocessing, wanted)
    found = _images(folder, trained, data=data, labels=labels, progress=progress)
    if wanted.int8 and not len(found.calibration):
        raise SettingError("int8 is calibrated on the run's training images; leave out --data")
    facts = facts_of(trained, inside=with_preprocessing)
    return write_proved(
        Exportable(network=plain_copy(trained.model), facts=facts),
        path,
        wanted,
        images=ProofImages(
            source=found.source,
            count=len(found.index),
            batches=_batches(found, found.index, facts),
            answers=answering(trained.model),
        ),
        calibration=(given for _, given, _ in _batches(found, found.calibration, facts)),
        card=card_of(facts, card_facts(folder, name=path.name), wanted.row),
        notes=_notes(folder),
        progress=progress,
    )


def _refuse_preprocessing(with_preprocessing: bool, wanted: Wanted) -> None:
    if with_preprocessing and not wanted.row.is_graph:
        raise SettingError(
            f"format {wanted.format} holds weights and no graph for the preprocessing; drop "
            "--with-preprocessing"
        )


def facts_of(trained: TrainedModel, *, inside: bool = False) -> Facts:
    """Returns what a file says of a run's network.

    Args:
        trained: the network.
        inside: whether the preprocessing is in the file.
    """
    made = trained.preprocessing
    return Facts(
        network=trained.settings.model,
        classes=trained.classes,
        input_shape=(made.channels, made.image_size, made.image_size),
        preprocessing=made,
        inside=inside,
        rule=_rule(trained),
    )


def _rule(trained: TrainedModel) -> DecisionRule:
    """Returns how the network's outputs become classes, or labels by their thresholds."""
    if trained.thresholds is None:
        return DecisionRule()
    return DecisionRule(kind="several", thresholds=trained.thresholds)


def card_facts(folder: RunFolder, *, name: str, license_name: str = "") -> CardFacts:
    """Returns what a model card says of a run; no path of the machine is in it."""
    recipe = read_recipe(folder.recipe)[0] if folder.recipe.is_file() else {}
    result = read_json(folder.evaluation) if folder.evaluation.is_file() else {}
    data = str(recipe.get("data", ""))
    told = {key: recipe[key] for key in _TOLD if recipe.get(key) not in (None, "")}
    return CardFacts(
        name=name,
        data=data if data.startswith("@") else Path(data).name,
        result=result if "accuracy" in result else {},
        training={key: _without_path(value) for key, value in told.items()},
        license=license_name,
    )


def _without_path(value: Any) -> str:
    text = str(value)
    return Path(text).name if Path(text).is_absolute() else text


def _images(
    folder: RunFolder,
    trained: TrainedModel,
    *,
    data: str | None,
    labels: str | None,
    progress: Progress,
) -> _Images:
    """Returns the images that are named, else the run's own held-out ones.

    Raises:
        DataError: the images that are named cannot be read.
        RunError: the run has none, or its data is not there or another.
    """
    if data is not None:
        return _named(folder, trained, data, labels, progress)
    if not folder.recipe.is_file():
        raise RunError(f"{folder.path} has no recipe.toml; name labelled images: --data")
    recipe = located(Recipe.of(read_recipe(folder.recipe)[0]), folder)
    if not recipe.data:
        raise RunError(f"{folder.recipe} names no data; name labelled images: --data")
    dataset = open_dataset(recipe, seed=recipe.seed, progress=progress)
    refuse_other_data(folder, dataset)
    split = next((name for name in ("validation", "test") if name in dataset.splits), None)
    if split is None or not len(dataset.splits[split]):
        raise RunError(
            f"{folder.path} held out no images to prove an export on; name labelled ones: --data"
        )
    train = dataset.splits["train"]
    order = torch.randperm(len(train), generator=generator_for("calibration", seed=recipe.seed))
    return _chosen(dataset, split, dataset.splits[split], train[order[:_CALIBRATION].numpy()])


def _named(
    folder: RunFolder, trained: TrainedModel, data: str, labels: str | None, progress: Progress
) -> _Images:
    """Returns the labelled images of a source, as the network takes them."""
    settings = read_recipe(folder.recipe)[0] if folder.recipe.is_file() else {}
    opened = read_again(
        settings,
        data=data,
        labels=labels,
        classes=trained.classes,
        given={"labels_per_image": "several"} if trained.several else None,
        channels=trained.preprocessing.channels,
        progress=progress,
    )
    dataset = open_reading(
        opened,
        preprocessing=trained.preprocessing,
        classes=trained.classes,
        several=trained.several,
        progress=progress,
    )
    index = np.arange(len(dataset.labels))
    return _chosen(dataset, data, index, index[:0])


def _chosen(dataset: Dataset, source: str, index: np.ndarray, calibration: np.ndarray) -> _Images:
    return _Images(
        source=source,
        images=dataset.images,
        index=index,
        labels=np.asarray(dataset.labels),
        calibration=calibration,
    )


def _batches(found: _Images, index: np.ndarray, facts: Facts) -> Iterator[Batch]:
    """Yields normalised images (B, C, S, S), the same as the file takes them, and labels."""
    assert isinstance(facts.preprocessing, Preprocessing)
    batches = evaluation_batches(
        found.images,
        index,
        preprocessing=facts.preprocessing,
        batch=_BATCH,
        device=torch.device("cpu"),
    )
    for number, batch in enumerate(batches):
        rows = index[number * _BATCH : (number + 1) * _BATCH]
        values = batch.images.numpy()
        given = (
            np.ascontiguousarray(found.images[rows])
            if facts.inside
            else np.ascontiguousarray(values)
        )
        yield values, given, found.labels[rows]


def _notes(folder: RunFolder) -> tuple[str, ...]:
    """Returns the sentence about a training in another precision than the file's."""
    recipe = read_recipe(folder.recipe)[0] if folder.recipe.is_file() else {}
    if recipe.get("precision") != "bfloat16":
        return ()
    return ("trained in bfloat16; the file computes in float32",)
