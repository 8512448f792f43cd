"""Opens a data set: finds the source, decodes, audits and splits it.

Shape letters: N images, S height and width, C channels, K classes.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress, no_progress
from ravine.data.audit import audit
from ravine.data.cache_lookup import CacheHit, load_or_decode
from ravine.data.class_matching import class_indices
from ravine.data.collection import Collection, FileEntry
from ravine.data.dataset import Dataset, ImageArray, ImageView, Preprocessing, Unlabelled
from ravine.data.decoded_cache import DecodedCache
from ravine.data.discovery import find_collection, list_images
from ravine.data.duplicates import Leakage, without_leakage
from ravine.data.image_file import ImageFormat
from ravine.data.image_format import choose_image_format, confirm_image_format
from ravine.data.image_notes import image_notes
from ravine.data.label_sets import as_rows, has_several
from ravine.data.labels_as_asked import refuse_one_label
from ravine.data.load_mode import LoadMode, choose_load_mode
from ravine.data.location import expand_path
from ravine.data.name_groups import matched_names
from ravine.data.settings import DataSettings
from ravine.data.sources.listing import folders_in
from ravine.data.sources.pixel_table import is_pixel_table, read_unlabelled_pixels
from ravine.data.split import split_images
from ravine.data.split_notes import split_notes
from ravine.data.streaming import StreamedImages


def open_dataset(settings: DataSettings, *, seed: int, progress: Progress = no_progress) -> Dataset:
    """Returns the data that `settings` name: decoded, audited, split.

    Args:
        settings: where the data lies and how it is read.
        seed: decides the split.
        progress: called while decoding.

    Raises:
        DataError: the data cannot be used; the message says why and how to mend it.
    """
    collection = find_training_images(settings, progress)
    return open_collection(collection, settings, seed=seed, progress=progress)


def find_training_images(settings: DataSettings, progress: Progress = no_progress) -> Collection:
    """Returns the images that `settings` name, with their groups, not yet decoded.

    Raises:
        DataError: there are none to train on, or they are of one class.
    """
    collection = grouped(find_collection(settings, progress), settings)
    refuse_no_training(collection, settings.data)
    _refuse_one_class(collection, settings.data)
    return collection


def open_collection(
    collection: Collection,
    settings: DataSettings,
    *,
    seed: int,
    progress: Progress = no_progress,
) -> Dataset:
    """Returns images that were found, decoded, audited and split; see `open_dataset`."""
    image_format, rule = choose_image_format(collection, settings)
    hit, load_mode = _load(collection, image_format, settings, progress)
    confirmed = confirm_image_format(collection, hit.decoded, settings)
    if confirmed is not None:
        sampled, (image_format, rule) = image_format, confirmed
        if image_format != sampled:
            hit, load_mode = _load(collection, image_format, settings, progress)
    return _split_and_audit(collection, image_format, rule, hit, load_mode, settings, seed)


def _split_and_audit(
    collection: Collection,
    image_format: ImageFormat,
    rule: str,
    hit: CacheHit,
    load_mode: LoadMode,
    settings: DataSettings,
    seed: int,
) -> Dataset:
    decoded = hit.decoded
    splits, leakage, notes = _split(collection, decoded, settings, seed)
    preprocessing = _preprocessing(image_format, decoded, splits["train"])
    found = audit(
        collection,
        decoded,
        splits,
        data=settings.data,
        rule=rule,
        leakage=leakage,
        cached=hit.cached,
        load_mode=load_mode.to_json(),
    )
    found |= {"split_notes": notes, "image_notes": image_notes(decoded, image_format)}
    return Dataset(
        images=_images(collection, image_format, decoded, workers=settings.workers),
        labels=collection.labels,
        classes=collection.classes,
        splits=splits,
        names=collection.names,
        preprocessing=preprocessing,
        audit=found,
        fingerprint=_fingerprint(collection, decoded, splits, preprocessing),
        digests=decoded.digests,
        label_separator=collection.label_separator,
    )


def _split(
    collection: Collection, decoded: DecodedCache, settings: DataSettings, seed: int
) -> tuple[dict[str, np.ndarray], Leakage, list[str]]:
    """Returns indices by split, images on both sides of it, and what it came to in sentences."""
    splits = split_images(
        collection.labels,
        decoded.readable,
        _identities(collection, decoded),
        collection.given_splits,
        share=settings.validation,
        seed=seed,
        classes=collection.classes,
        fold=(settings.fold, settings.folds) if settings.fold and settings.folds else None,
    )
    splits, leakage = without_leakage(splits, decoded.digests)
    notes = split_notes(
        collection.labels,
        splits,
        collection.groups,
        collection.classes,
        holds_out=settings.validation > 0 and "validation" not in collection.given_splits,
    )
    return splits, leakage, notes


def grouped(collection: Collection, settings: DataSettings) -> Collection:
    """Returns a collection with the groups that its files' names hold, where they are asked for.

    Raises:
        DataError: the images have no file names, or one does not fit the pattern.
    """
    pattern = settings.group_from_name
    if pattern is None:
        return collection
    if not collection.files:
        raise DataError(
            f"--group-from-name: the images of {settings.data} are arrays without file names; "
            "leave it out"
        )
    groups = matched_names(collection.names, pattern, "group_from_name")
    return replace(collection, groups=groups)


def _load(
    collection: Collection, image_format: ImageFormat, settings: DataSettings, progress: Progress
) -> tuple[CacheHit, LoadMode]:
    """Decodes a collection, and keeps the images unless they are streamed."""
    load_mode = choose_load_mode(collection, image_format, settings)
    hit = load_or_decode(
        collection,
        image_format,
        cache=settings.cache,
        progress=progress,
        images=not load_mode.streamed,
    )
    return hit, load_mode


def _images(
    collection: Collection,
    image_format: ImageFormat,
    decoded: DecodedCache,
    *,
    workers: int | None = None,
) -> ImageArray:
    if decoded.images is not None:
        return decoded.images
    return StreamedImages(
        collection.files, image_format, unreadable=decoded.unreadable, workers=workers
    )


def refuse_no_training(collection: Collection, data: str) -> None:
    """Raises `DataError` if a source gives splits, and none of them is for training.

    Args:
        collection: the images of the source.
        data: the source, for the message.
    """
    given = {split for split in collection.given_splits if split}
    if given and "train" not in given:
        raise DataError(
            f"{data} has no training split, only {' and '.join(sorted(given))}, which Ravine does "
            "not train on; name the data for training, or rename the split that is"
        )


def _refuse_one_class(collection: Collection, data: str) -> None:
    refuse_one_label(collection.labels, collection.classes, data)
    if has_several(collection.labels) or len(np.unique(collection.labels)) >= 2:
        return
    only = collection.classes[collection.labels[0]]
    inner = expand_path(data) / only
    nested = inner.is_dir() and len(folders_in(inner)) > 1
    hint = f"; if they are one folder down: {inner}" if collection.files and nested else ""
    raise DataError(f"{data} holds one class only, {only!r}; a classifier needs two or more{hint}")


def _identities(collection: Collection, decoded: DecodedCache) -> Sequence[bytes]:
    """Returns what must stay on one side of the split: the group, or else the pixels."""
    pixels = [row.tobytes() for row in decoded.digests]
    if not collection.groups:
        return pixels
    groups = zip(collection.groups, pixels, strict=True)
    return [b"group " + group.encode() if group else own for group, own in groups]


def format_of(preprocessing: Preprocessing) -> ImageFormat:
    """Returns the image format that a network was trained with."""
    return ImageFormat(
        image_size=preprocessing.image_size,
        channels=preprocessing.channels,
        fit=preprocessing.fit,
        large=preprocessing.large,
        grey_range=preprocessing.grey_range,
    )


def _preprocessing(
    image_format: ImageFormat, decoded: DecodedCache, train: np.ndarray
) -> Preprocessing:
    values = len(train) * image_format.image_size**2
    mean, squares = decoded.sums[train].sum(0) / values
    std = np.sqrt(np.maximum(squares - mean**2, 0))
    return Preprocessing(
        image_size=image_format.image_size,
        channels=image_format.channels,
        mean=tuple((mean / 255).tolist()),
        std=tuple(float(s) if s > 0 else 1.0 for s in std / 255),
        fit=image_format.fit,
        large=image_format.large,
        grey_range=image_format.grey_range,
    )


def _fingerprint(
    collection: Collection,
    decoded: DecodedCache,
    splits: dict[str, np.ndarray],
    preprocessing: Preprocessing,
) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(decoded.digests).tobytes())
    digest.update(collection.labels.tobytes())
    digest.update(json.dumps([collection.classes, preprocessing.to_json()]).encode())
    for name in sorted(splits):
        digest.update(name.encode() + splits[name].tobytes())
    return digest.hexdigest()


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
        DataError: there is a class that the network does not know, or nothing to read.
    """
    settings = settings or DataSettings.of({"data": data, "labels": labels})
    if several:
        settings = settings.with_(labels_per_image="several")
    collection = find_collection(settings, progress)
    if has_several(collection.labels) and not several:
        raise DataError(
            f"{data} has several labels per image, and the network answers with one class; "
            "evaluate on images of one class each"
        )
    to_network = class_indices(collection.classes, classes, data)
    image_format = format_of(preprocessing)
    decoded = _load(collection, image_format, settings, progress)[0].decoded
    chosen = _evaluated(collection, decoded, data)
    names = collection.names
    unreadable = [{"name": names[i], "reason": why} for i, why in decoded.unreadable.items()]
    return Dataset(
        images=_subset(_images(collection, image_format, decoded), chosen),
        labels=_as_network(collection.labels[chosen], to_network, len(classes)),
        classes=tuple(classes),
        splits={"test": np.arange(len(chosen))},
        names=[names[int(i)] for i in chosen],
        preprocessing=preprocessing,
        audit={"unreadable": unreadable},
        fingerprint="",
        digests=decoded.digests[chosen],
    )


def _as_network(labels: np.ndarray, to_network: np.ndarray, classes: int) -> np.ndarray:
    """Returns labels of either form, of the data's M classes, as those of the network's K."""
    if not has_several(labels):
        return to_network[labels]
    rows = np.zeros((len(labels), classes), np.uint8)
    rows[:, to_network] = as_rows(labels, len(to_network))
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


def _unlabelled(paths: Sequence[Path], image_column: Callable[[Path], str | None]) -> Collection:
    if len(paths) == 1 and is_pixel_table(paths[0]) and paths[0].is_file():
        return read_unlabelled_pixels(paths[0])
    names: list[str] = []
    files: list[FileEntry] = []
    for path in paths:
        for name, entry in list_images(path, image_column=image_column(path)):
            names.append(name)
            files.append(entry)
    if not files:
        raise DataError(f"no images in {', '.join(map(str, paths))}")
    return Collection(
        names=names, labels=np.zeros(len(names), np.int64), classes=("",), files=files
    )


def open_unlabelled(
    paths: Sequence[Path],
    *,
    preprocessing: Preprocessing,
    progress: Progress = no_progress,
    image_column: Callable[[Path], str | None] = lambda _: None,
) -> Unlabelled:
    """Returns the images of files, of folders with all below them, of tars and CSVs of names.

    Args:
        paths: in the order of the images.
        preprocessing: of the network.
        progress: called while decoding.
        image_column: returns the column with the file names of a table; None to find it by name.

    Raises:
        DataError: a path does not exist, or a CSV names an image that does not.
    """
    opened = [expand_path(str(path)) for path in paths]
    collection = _unlabelled(opened, image_column)
    names = collection.names
    image_format = format_of(preprocessing)
    settings = DataSettings(data=str(paths[0]), cache=False)
    decoded = _load(collection, image_format, settings, progress)[0].decoded
    readable = np.flatnonzero(decoded.readable)
    return Unlabelled(
        images=_subset(_images(collection, image_format, decoded), readable),
        names=[names[int(i)] for i in readable],
        unreadable=[(names[i], reason) for i, reason in decoded.unreadable.items()],
    )
