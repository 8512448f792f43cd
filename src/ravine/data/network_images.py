"""Opens images for a network that is trained: labelled ones to evaluate on, others to predict.

Shape letters: N images, S height and width, C channels, K classes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress, no_progress
from ravine.data.bands import refuse_other_channels
from ravine.data.class_matching import class_indices
from ravine.data.collection import Collection
from ravine.data.dataset import Dataset, ImageArray, ImageView, Preprocessing, Unlabelled
from ravine.data.decoded_cache import DecodedCache
from ravine.data.discovery import find_collection
from ravine.data.image_file import ImageFormat
from ravine.data.label_sets import has_several
from ravine.data.location import expand_path
from ravine.data.opening import image_array, load_images
from ravine.data.reading import Reading
from ravine.data.settings import DataSettings
from ravine.data.streaming import StreamedImages
from ravine.data.unlabelled import find_unlabelled


def format_of(preprocessing: Preprocessing) -> ImageFormat:
    """Returns the image format that a network was trained with."""
    return ImageFormat(
        image_size=preprocessing.image_size,
        channels=preprocessing.channels,
        fit=preprocessing.fit,
        large=preprocessing.large,
        grey_range=preprocessing.grey_range,
        bands=preprocessing.bands,
        interpolation=preprocessing.interpolation,
        crop_share=preprocessing.crop_share,
    )


def open_labelled(
    data: str,
    *,
    labels: str | None,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    progress: Progress = no_progress,
    settings: DataSettings | None = None,
    several: bool = False,
) -> Dataset:
    """Returns labelled images for an evaluation, all in the split `test`.

    Where the source has a test split of its own, only that is taken.

    Args:
        data: path of the source.
        labels: path of a CSV with the labels, or None.
        preprocessing: of the network.
        classes: K names that the network knows.
        progress: called while decoding.
        settings: how `data` is read, with its columns; by default with usual names.
        several: whether the network answers with several labels an image.

    Raises:
        DataError: there is a class that the network does not know, nothing to read, or images of
            other channels than the network takes.
    """
    settings = settings or DataSettings.of({"data": data, "labels": labels})
    settings = settings.with_(channels=str(preprocessing.channels), bands=None)
    if several:
        settings = settings.with_(labels_per_image="several")
    found = Reading(settings=settings, collection=find_collection(settings, progress), notes=())
    return open_reading(
        found, preprocessing=preprocessing, classes=classes, several=several, progress=progress
    )


def open_reading(
    found: Reading,
    *,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    several: bool = False,
    progress: Progress = no_progress,
) -> Dataset:
    """Returns labelled images that were found, decoded for a network; see `open_labelled`."""
    collection, settings = found.collection, found.settings
    if has_several(collection.labels) != several:
        refuse_other_form(settings.data, several=several)
    to_network = class_indices(collection.classes, classes, settings.data)
    refuse_other_channels(collection, preprocessing.channels, settings.data)
    image_format = format_of(preprocessing)
    decoded = load_images(collection, image_format, settings, progress)[0].decoded
    chosen = _evaluated(collection, decoded, settings.data)
    names = collection.names
    unreadable = [{"name": names[i], "reason": why} for i, why in decoded.unreadable.items()]
    return Dataset(
        images=_subset(image_array(collection, image_format, decoded), chosen),
        labels=_as_network(collection.labels[chosen], to_network, len(classes)),
        classes=tuple(classes),
        splits={"test": np.arange(len(chosen))},
        names=[names[int(i)] for i in chosen],
        preprocessing=preprocessing,
        audit={"unreadable": unreadable},
        fingerprint="",
        digests=decoded.digests[chosen],
    )


def refuse_other_form(data: str, *, several: bool) -> None:
    """Raises `DataError`: the labels of the data are of another form than the network's answers."""
    if several:
        raise DataError(
            f"{data} has one class per image, and the network answers with several labels; "
            "read it so: --labels-per-image several"
        )
    raise DataError(
        f"{data} has several labels per image, and the network answers with one class; "
        "evaluate on images of one class each"
    )


def _as_network(labels: np.ndarray, to_network: np.ndarray, classes: int) -> np.ndarray:
    """Returns labels of either form, of the data's M classes, as those of the network's K."""
    if not has_several(labels):
        return to_network[labels]
    rows = np.zeros((len(labels), classes), np.uint8)
    rows[:, to_network] = labels
    return rows


def _evaluated(collection: Collection, decoded: DecodedCache, data: str) -> np.ndarray:
    """Returns the indices of readable images, of the test split where the source has one."""
    chosen = np.flatnonzero(decoded.readable)
    if "test" in collection.given_splits:
        chosen = chosen[np.array([collection.given_splits[int(i)] == "test" for i in chosen])]
    if not len(chosen):
        raise DataError(f"{data} holds no readable image")
    return chosen


def _subset(images: ImageArray, index: np.ndarray) -> ImageArray:
    if isinstance(images, StreamedImages):
        return images.subset(index)
    return images if len(index) == len(images) else ImageView(images, index)


def open_unlabelled(
    paths: Sequence[Path],
    *,
    preprocessing: Preprocessing,
    trained: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
    **given: str | None,
) -> Unlabelled:
    """Returns images to predict, decoded for a network; see `find_unlabelled`.

    Args:
        paths: in the order of the images.
        preprocessing: of the network.
        trained: settings of the training, which hold where they fit; {} where there are none.
        progress: called while decoding.
        **given: `image_column` and `images` that the user names for these images.

    Raises:
        DataError: a path does not exist, a CSV names an image that does not, or images have other
            channels than the network takes.
    """
    opened = [expand_path(str(path)) for path in paths]
    found = find_unlabelled(
        opened,
        trained=trained or {},
        given=given,
        channels=preprocessing.channels,
        progress=progress,
    )
    collection, names = found.collection, found.collection.names
    refuse_other_channels(collection, preprocessing.channels, str(paths[0]))
    image_format = format_of(preprocessing)
    settings = DataSettings(data=str(paths[0]), cache=False)
    decoded = load_images(collection, image_format, settings, progress)[0].decoded
    readable = np.flatnonzero(decoded.readable)
    return Unlabelled(
        images=_subset(image_array(collection, image_format, decoded), readable),
        names=[names[int(i)] for i in readable],
        unreadable=[(names[i], reason) for i, reason in decoded.unreadable.items()],
        by_row=found.by_row,
        notes=found.notes,
    )
