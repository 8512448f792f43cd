"""Finds the source format of a path, and reads its collection of images.

The first that fits is taken: a CSV of labels, IDX files, CIFAR batches, tar shards, class folders.
"""

from importlib import resources
from pathlib import Path

from ravine.core.errors import DataError
from ravine.core.progress import Progress, no_progress
from ravine.data.collection import Collection, FileEntry
from ravine.data.location import SAMPLE, expand_path, refuse_missing
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
from ravine.data.sources.listing import image_files
from ravine.data.sources.npz import read_npz
from ravine.data.sources.shards import images_in, is_shard, one_shard, read_shards, shards_in


def find_collection(settings: DataSettings, progress: Progress = no_progress) -> Collection:
    """Returns the images of the source at `settings.data`, not yet decoded.

    Raises:
        DataError: the path does not exist, or holds nothing that Ravine reads.
    """
    refuse_missing(settings)
    if settings.data == SAMPLE:
        return read_idx_pairs(idx_pairs(Path(str(resources.files("ravine.data") / "sample"))))
    root = expand_path(settings.data)
    if settings.labels is not None:
        return read_table(expand_path(settings.labels), root, settings)
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
        folder = expand_path(settings.images) if settings.images else path.parent
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


def list_images(path: Path) -> list[tuple[str, FileEntry]]:
    """Returns (name, entry) of the images of a folder, a tar, a CSV of names, or of one file.

    Raises:
        DataError: the path does not exist, or a CSV names an image that does not.
    """
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
