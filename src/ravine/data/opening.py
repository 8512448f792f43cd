"""Opens a data set: finds the source, decodes, audits and splits it.

Shape letters: N images, S height and width, C channels, K classes.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress, no_progress
from ravine.data.audit import audit
from ravine.data.banded_tiff import refuse_without_library
from ravine.data.cache_lookup import CacheHit, load_or_decode
from ravine.data.collection import Collection
from ravine.data.dataset import Dataset, ImageArray, Preprocessing
from ravine.data.decoded_cache import DecodedCache
from ravine.data.discovery import find_collection
from ravine.data.duplicates import Leakage, without_leakage
from ravine.data.image_file import ImageFormat
from ravine.data.image_format import choose_image_format, confirm_image_format
from ravine.data.image_notes import image_notes
from ravine.data.label_sets import has_several
from ravine.data.labels_as_asked import refuse_one_label
from ravine.data.load_mode import LoadMode, choose_load_mode
from ravine.data.location import expand_path
from ravine.data.name_groups import matched_names
from ravine.data.settings import DataSettings, for_channels
from ravine.data.sources.listing import folders_in
from ravine.data.sources.name_labels import proposed_form
from ravine.data.split import split_images
from ravine.data.split_notes import split_notes
from ravine.data.streaming import StreamedImages
from ravine.data.unseen import unseen_notes


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
    if settings.bands:
        refuse_without_library()
    image_format, rule = choose_image_format(collection, settings)
    hit, load_mode = load_images(collection, image_format, settings, progress)
    confirmed = confirm_image_format(collection, hit.decoded, settings)
    if confirmed is not None:
        sampled, (image_format, rule) = image_format, confirmed
        if image_format != sampled:
            hit, load_mode = load_images(collection, image_format, settings, progress)
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
    _refuse_unreadable_class(collection, decoded)
    splits, leakage, notes = _split(collection, decoded, settings, seed)
    preprocessing = _preprocessing(image_format, decoded, splits["train"], settings)
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
    unseen = unseen_notes(collection, settings)
    found |= {"split_notes": notes, "image_notes": image_notes(decoded, image_format) + unseen}
    return Dataset(
        images=image_array(collection, image_format, decoded, workers=settings.workers),
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


def load_images(
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


def image_array(
    collection: Collection,
    image_format: ImageFormat,
    decoded: DecodedCache,
    *,
    workers: int | None = None,
) -> ImageArray:
    """Returns the decoded images, or what decodes them on access where they are streamed."""
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
    if not hint and collection.files and (form := proposed_form(collection.names)) is not None:
        hint = f"; their names look like labels: --label-from-name {form}"
    elif not hint and collection.files:
        hint = "; name the labels: --labels FILE.csv, or --label-from-name PATTERN"
    layout = "" if collection.understood is None else f", read as {collection.understood.layout},"
    raise DataError(
        f"{data}{layout} holds one class only, {only!r}; a classifier needs two or more{hint}"
    )


def _refuse_unreadable_class(collection: Collection, decoded: DecodedCache) -> None:
    """Raises `DataError` with the reason if no image of a class can be read."""
    if not decoded.unreadable or has_several(collection.labels):
        return
    for label in np.unique(collection.labels[list(decoded.unreadable)]):
        of_class = np.flatnonzero(collection.labels == label)
        if not decoded.readable[of_class].any():
            first = int(of_class[0])
            raise DataError(
                f"class {collection.classes[label]!r} has no readable image; "
                f"{collection.names[first]!r}: {decoded.unreadable[first]}"
            )


def _identities(collection: Collection, decoded: DecodedCache) -> Sequence[bytes]:
    """Returns what must stay on one side of the split: the group, or else the pixels."""
    pixels = [row.tobytes() for row in decoded.digests]
    if not collection.groups:
        return pixels
    groups = zip(collection.groups, pixels, strict=True)
    return [b"group " + group.encode() if group else own for group, own in groups]


def _preprocessing(
    image_format: ImageFormat, decoded: DecodedCache, train: np.ndarray, settings: DataSettings
) -> Preprocessing:
    values = len(train) * image_format.image_size**2
    mean, squares = decoded.sums[train].sum(0) / values
    std = np.sqrt(np.maximum(squares - mean**2, 0))
    channels = image_format.channels
    return Preprocessing(
        image_size=image_format.image_size,
        channels=channels,
        mean=for_channels("mean", settings.mean, channels) or tuple((mean / 255).tolist()),
        std=for_channels("std", settings.std, channels)
        or tuple(float(s) if s > 0 else 1.0 for s in std / 255),
        fit=image_format.fit,
        large=image_format.large,
        grey_range=image_format.grey_range,
        bands=image_format.bands,
        interpolation=image_format.interpolation,
        crop_share=image_format.crop_share,
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
