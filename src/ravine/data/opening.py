"""From a path to a data set: source, decoding, audit, split."""

import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress, no_progress
from ravine.data.audit import audit
from ravine.data.cache_writer import Opened, decoded
from ravine.data.collection import Collection, FileEntry, root_of
from ravine.data.dataset import Dataset, ImageArray, Preprocessing, Unlabelled
from ravine.data.decoded_cache import Form, Store
from ravine.data.image_format import choose_form, confirm_form
from ravine.data.load_mode import Reading, choose_reading
from ravine.data.settings import DataSettings
from ravine.data.sources.cifar import has_cifar, read_cifar
from ravine.data.sources.folders import read_folders
from ravine.data.sources.idx import idx_pairs, read_idx_pairs
from ravine.data.sources.labels_csv import (
    IMAGE_COLUMNS,
    ImageIndex,
    find_column,
    read_rows,
    read_table,
)
from ravine.data.sources.listing import folders_in, image_files
from ravine.data.sources.npz import read_npz
from ravine.data.sources.shards import images_in, is_shard, one_shard, read_shards, shards_in
from ravine.data.split import split_images, without_leakage
from ravine.data.streaming import StreamedImages

SAMPLE = "@fashion"


def open_dataset(settings: DataSettings, *, seed: int, progress: Progress = no_progress) -> Dataset:
    """Returns the data that `settings` name: decoded, audited, split.

    Args:
        settings: where the data lies and how it is read.
        seed: decides the split.
        progress: told of decoding.

    Raises:
        DataError: what lies there cannot be used; the message says what and how to mend it.
    """
    collection = find_collection(settings, progress)
    _refuse_too_few(collection, settings.data)
    form, rule = choose_form(collection, settings)
    opened, reading = _read(collection, form, settings, progress)
    confirmed = confirm_form(collection, opened.store, settings)
    if confirmed is not None and confirmed != (form, rule):
        guess, (form, rule) = form, confirmed
        if form != guess:
            opened, reading = _read(collection, form, settings, progress)
    store = opened.store
    splits = split_images(
        collection.labels,
        _readable(collection, store),
        _identities(collection, store),
        collection.given,
        share=settings.validation,
        seed=seed,
        classes=collection.classes,
    )
    splits, kept_out, in_test = without_leakage(splits, store.digests)
    preprocessing = _preprocessing(form, store, splits["train"])
    return Dataset(
        images=_images(collection, form, store, workers=settings.workers),
        labels=collection.labels,
        classes=collection.classes,
        splits=splits,
        names=collection.names,
        preprocessing=preprocessing,
        audit=audit(
            collection,
            store,
            splits,
            data=settings.data,
            rule=rule,
            kept_out=kept_out,
            in_test=in_test,
            cached=opened.cached,
            reading=reading.to_json(),
        ),
        fingerprint=_fingerprint(collection, store, splits, preprocessing),
    )


def _read(
    collection: Collection, form: Form, settings: DataSettings, progress: Progress
) -> tuple[Opened, Reading]:
    """Decodes a collection, and keeps the images unless they are streamed."""
    reading = choose_reading(collection, form, settings)
    opened = decoded(
        collection, form, cache=settings.cache, progress=progress, images=not reading.streamed
    )
    return opened, reading


def _images(
    collection: Collection, form: Form, store: Store, *, workers: int | None = None
) -> ImageArray:
    if store.images is not None:
        return store.images
    return StreamedImages(collection.files, form, unreadable=store.unreadable, workers=workers)


def find_collection(settings: DataSettings, progress: Progress = no_progress) -> Collection:
    """Returns what the source at `settings.data` holds, not yet decoded.

    Raises:
        DataError: there is nothing there that Ravine reads.
    """
    if not settings.data:
        raise DataError("no data is named; try @fashion, or a folder with one folder per class")
    if settings.data == SAMPLE:
        return read_idx_pairs(idx_pairs(Path(str(resources.files("ravine.data") / "sample"))))
    if settings.data.startswith("@"):
        raise DataError(f"no sample {settings.data!r} ships with Ravine; there is {SAMPLE}")
    root = root_of(settings.data)
    if not root.exists():
        raise DataError(f"no such path: {root}")
    if settings.labels is not None:
        return read_table(root_of(settings.labels), root, settings)
    if root.is_dir():
        pairs = idx_pairs(root)
        if pairs:
            return read_idx_pairs(pairs)
        if has_cifar(root):
            return read_cifar(root)
        shards = shards_in(root)
        return read_shards(shards, progress) if shards else read_folders(root)
    return _from_file(root, settings, progress)


def _from_file(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    if is_shard(path):
        return read_shards(one_shard(path), progress)
    if path.suffix.lower() == ".csv":
        folder = root_of(settings.images) if settings.images else path.parent
        return read_table(path, folder, settings)
    if path.suffix.lower() == ".npz":
        return read_npz(path)
    if "idx3-ubyte" in path.name:
        same = [pair for pair in idx_pairs(path.parent) if pair[1] == path]
        if same:
            return read_idx_pairs([("train", same[0][1], same[0][2])])
    raise DataError(
        f"{path} is no source that Ravine reads: a folder with one folder per class, "
        ".csv, .npz, .tar, IDX (…idx3-ubyte) or a folder of CIFAR batches or of .tar files"
    )


def _refuse_too_few(collection: Collection, data: str) -> None:
    if len(np.unique(collection.labels)) >= 2:
        return
    only = collection.classes[collection.labels[0]]
    inner = root_of(data) / only
    hint = f"; if they are one folder down: {inner}" if collection.files and _nested(inner) else ""
    raise DataError(f"{data} holds one class only, {only!r}; a classifier needs two or more{hint}")


def _nested(folder: Path) -> bool:
    return folder.is_dir() and len(folders_in(folder)) > 1


def _readable(collection: Collection, store: Store) -> np.ndarray:
    readable = np.ones(len(collection.names), dtype=bool)
    readable[list(store.unreadable)] = False
    return readable


def _identities(collection: Collection, store: Store) -> Sequence[bytes]:
    """Returns what must not be on both sides: the group, or where there is none the pixels."""
    pixels = [row.tobytes() for row in store.digests]
    if not collection.groups:
        return pixels
    groups = zip(collection.groups, pixels, strict=True)
    return [b"group " + group.encode() if group else own for group, own in groups]


def _preprocessing(form: Form, store: Store, train: np.ndarray) -> Preprocessing:
    values = len(train) * form.image_size**2
    total, squares = store.sums[train].sum(0) / values
    std = np.sqrt(np.maximum(squares - total**2, 0))
    return Preprocessing(
        image_size=form.image_size,
        channels=form.channels,
        mean=tuple((total / 255).tolist()),
        std=tuple(float(s) if s > 0 else 1.0 for s in std / 255),
    )


def _fingerprint(
    collection: Collection,
    store: Store,
    splits: dict[str, np.ndarray],
    preprocessing: Preprocessing,
) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(store.digests).tobytes())
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
) -> Dataset:
    """Returns labelled images for an evaluation, all in the split `test`.

    Where the source has a test split of its own, only that is taken.

    Raises:
        DataError: there is a class that the network does not know, or nothing to read.
    """
    settings = DataSettings.of({"data": data, "labels": labels})
    collection = find_collection(settings, progress)
    place_of = {name: place for place, name in enumerate(classes)}
    strange = [name for name in collection.classes if name not in place_of]
    if strange:
        raise DataError(
            f"{data} has the class {strange[0]!r}, which the network does not know; "
            f"it knows: {', '.join(list(classes)[:20])}"
        )
    form = Form(image_size=preprocessing.image_size, channels=preprocessing.channels)
    store = _read(collection, form, settings, progress)[0].store
    chosen = np.flatnonzero(_readable(collection, store))
    if "test" in collection.given:
        chosen = chosen[np.array([collection.given[int(i)] == "test" for i in chosen])]
    if not len(chosen):
        raise DataError(f"{data} holds no readable image")
    to_known = np.array([place_of[name] for name in collection.classes])
    return Dataset(
        images=_subset(_images(collection, form, store), chosen),
        labels=to_known[collection.labels[chosen]],
        classes=tuple(classes),
        splits={"test": np.arange(len(chosen))},
        names=[collection.names[int(i)] for i in chosen],
        preprocessing=preprocessing,
        audit={
            "unreadable": [
                {"name": collection.names[i], "reason": why} for i, why in store.unreadable.items()
            ]
        },
        fingerprint="",
    )


def _subset(images: ImageArray, index: np.ndarray) -> ImageArray:
    if isinstance(images, StreamedImages):
        return images.subset(index)
    return images if len(index) == len(images) else images[index]


def open_unlabelled(
    paths: Sequence[Path], *, preprocessing: Preprocessing, progress: Progress = no_progress
) -> Unlabelled:
    """Returns the images of files, of folders with all below them, of tars and CSVs of names.

    Raises:
        DataError: a path does not exist, or a CSV names an image that is not there.
    """
    names: list[str] = []
    files: list[FileEntry] = []
    for path in paths:
        for name, entry in _listed(Path(path).expanduser()):
            names.append(name)
            files.append(entry)
    if not files:
        raise DataError(f"no images in {', '.join(map(str, paths))}")
    collection = Collection(
        names=names, labels=np.zeros(len(names), np.int64), classes=("",), files=files
    )
    form = Form(image_size=preprocessing.image_size, channels=preprocessing.channels)
    settings = DataSettings(data=str(paths[0]), cache=False)
    store = _read(collection, form, settings, progress)[0].store
    readable = np.flatnonzero(_readable(collection, store))
    return Unlabelled(
        images=_subset(_images(collection, form, store), readable),
        names=[names[int(i)] for i in readable],
        unreadable=[(names[i], reason) for i, reason in store.unreadable.items()],
    )


def _listed(path: Path) -> list[tuple[str, FileEntry]]:
    if path.is_dir():
        return list(image_files(path))
    if not path.is_file():
        raise DataError(f"no such path: {path}")
    if is_shard(path):
        return images_in(path)
    if path.suffix.lower() != ".csv":
        facts = path.stat()
        entry = FileEntry(path=str(path), size=facts.st_size, modified=facts.st_mtime_ns)
        return [(path.name, entry)]
    columns, rows = read_rows(path)
    column = find_column(path, columns, None, IMAGE_COLUMNS, "image")
    index = ImageIndex(path.parent)
    found = []
    for line, row in enumerate(rows, start=2):
        name = index.find(row[column])
        if name is None:
            raise DataError(f"{path}, line {line}: no image {row[column]!r} below {path.parent}")
        found.append((row[column], index.entries[name]))
    return found
