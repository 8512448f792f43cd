"""Class folders at any depth, with or without folders for splits; or labels in the files' names."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ravine.core.errors import DataError, SettingError
from ravine.data.collection import Collection, FileEntry, class_order, label_indices
from ravine.data.label_sets import label_rows
from ravine.data.settings import DataSettings
from ravine.data.sources.class_tree import (
    ClassTree,
    folder_of,
    read_class_tree,
    read_split_tree,
    unlabelled_said,
)
from ravine.data.sources.listing import (
    IMAGE_LIKE,
    FolderListing,
    folders_in,
    image_files,
    list_folder,
    remedy_for,
)
from ravine.data.sources.name_labels import name_pattern, without_strange_splits
from ravine.data.sources.no_classes import refuse_no_classes
from ravine.data.sources.partition_lists import (
    PARTITION_ENDINGS,
    Partition,
    partition_in,
    says_partition,
)
from ravine.data.sources.split_words import UNLABELLED, are_parts, split_of
from ravine.data.sources.table_file import shown_path
from ravine.data.sources.table_splits import NONE
from ravine.data.sources.unsorted import (
    TryTable,
    is_unsorted,
    masks_in_classes,
    refuse_contrary_table,
    refuse_one_folder,
    refuse_other_tasks,
    without_class_folders,
)
from ravine.data.understanding import Understood, shortened

NAME = "folders"
_MOST_SAID = 3


def has_class_folders(path: Path) -> bool:
    """Returns whether two folders in a folder hold images, directly or below."""
    if not path.is_dir():
        return False
    with_images = 0
    for name in folders_in(path):
        with_images += any(True for _ in image_files(path / name))
        if with_images == 2:
            return True
    return False


def read_folders(root: Path, settings: DataSettings, labels_images: TryTable) -> Collection:
    """Returns the images of a tree; the folder's name is the class, or part of the file's name.

    Args:
        root: the folder.
        settings: `class_level` and `label_from_name`.
        labels_images: reads the images of a folder by a table that lies there, for messages.

    Raises:
        DataError: there are no class folders, or no images in them, or two readings are likely.
    """
    _refuse_split_column(root, settings)
    listing = list_folder(root)
    if not listing.images:
        raise without_class_folders(root, listing, labels_images)
    if settings.class_level is None:
        refuse_other_tasks(root, listing)
        _leave_masks_out(listing)
    if settings.label_from_name is not None:
        return _from_names(root, listing, settings)
    sorted_already = settings.class_level is not None
    tree = _tree(root, listing, settings, labels_images)
    labels = [tree.labels[folder_of(name)] for name, _ in listing.images]
    _refuse_empty_classes(root, listing, tree, set(labels))
    splits = [tree.splits[folder_of(name)] for name, _ in listing.images]
    if settings.layout is None and not sorted_already:
        refuse_one_folder(root, listing, set(labels), labels_images)
    apart = None
    if settings.split_column is None and not any(splits):
        apart = _partition(root, listing)
        splits = splits if apart is None else apart.of([name for name, _ in listing.images])
    if settings.layout is None and not sorted_already:
        trained = {
            name: label
            for (name, _), label, split in zip(listing.images, labels, splits, strict=True)
            if label and split in (None, "train")
        }
        refuse_contrary_table(root, listing, trained, labels_images)
    found = collected(listing.images, labels, splits)
    understood = _understood(found, listing, tree)
    if apart is not None:
        understood = replace(understood, splits=f"splits: {apart.path.name}")
    return replace(found, understood=understood)


def _refuse_split_column(root: Path, settings: DataSettings) -> None:
    if settings.split_column not in (None, NONE):
        raise SettingError(
            f"--split-column has no effect: {shown_path(root)} is read as a folder with one folder "
            "per class; drop it, or name a table: --labels FILE.csv"
        )


def _tree(
    root: Path, listing: FolderListing, settings: DataSettings, labels_images: TryTable
) -> ClassTree:
    """Returns the classes and splits of the folders.

    Raises:
        DataError: they are no classes, or two readings are likely.
    """
    tree = read_class_tree(
        dict.fromkeys(folder_of(name) for name, _ in listing.images),
        shown_path(root),
        settings.class_level,
    )
    sorted_already = settings.class_level is not None
    if not sorted_already:
        refuse_no_classes(shown_path(root), [name for name, _ in listing.images], tree)
    if not tree.has_training_classes or (
        is_unsorted(set(tree.labels.values())) and not sorted_already
    ):
        raise without_class_folders(root, listing, labels_images, _level_of_parts(tree))
    return tree


def _partition(root: Path, listing: FolderListing) -> Partition | None:
    """Returns the splits in a file such as list_eval_partition.txt; None without one."""
    known = {name for name, _ in listing.images}
    files = [
        file
        for below, endings in listing.others.items()
        if any(endings[ending] for ending in PARTITION_ENDINGS)
        for file in sorted((root / below).iterdir())
        if says_partition(file)
    ]
    return partition_in(root, files, lambda name: name if name in known else None)


def _leave_masks_out(listing: FolderListing) -> None:
    """Leaves out of the images what lies in COVID/masks, beside COVID/images."""
    if masks := masks_in_classes(listing):
        listing.images[:] = [
            pair for pair in listing.images if pair[0].rpartition("/")[0] not in masks
        ]


def _level_of_parts(tree: ClassTree) -> str:
    """Returns the level of the folders that count parts; "" where the classes do not."""
    labels = {label: path for path, label in tree.labels.items() if label}
    if not are_parts(labels):
        return ""
    label, path = next(iter(labels.items()))
    return str(path.index(label) + 1) if label in path else ""


def collected(
    images: Sequence[tuple[str, FileEntry]],
    labels: Sequence[str],
    splits: Sequence[str | None],
    *,
    order: Sequence[str] = (),
) -> Collection:
    """Returns the images that have a label; the others are its `unlabelled`.

    Args:
        images: (name, entry) of N images.
        labels: of the N images; "" for none.
        splits: of the N images.
        order: the classes in their order, if it is not by number or by name.
    """
    chosen = [index for index, label in enumerate(labels) if label]
    classes = tuple(order) or class_order({labels[index] for index in chosen})
    given = [splits[index] for index in chosen]
    return Collection(
        names=[images[index][0] for index in chosen],
        labels=label_indices([labels[index] for index in chosen], classes),
        classes=classes,
        given_splits=given if any(given) else (),
        files=[images[index][1] for index in chosen],
        unlabelled=[images[i][0] for i, label in enumerate(labels) if not label],
    )


def collected_sets(
    images: Sequence[tuple[str, FileEntry]],
    sets: Sequence[tuple[str, ...]],
    splits: Sequence[str | None],
    *,
    order: Sequence[str] = (),
) -> Collection:
    """Returns images that have several labels each, or none.

    Args:
        images: (name, entry) of N images.
        sets: the labels of the N images.
        splits: of the N images.
        order: the labels in their order, if it is not by number or by name.
    """
    classes = tuple(order) or class_order({label for labels in sets for label in labels})
    return Collection(
        names=[name for name, _ in images],
        labels=label_rows(sets, classes),
        classes=classes,
        given_splits=list(splits) if any(splits) else (),
        files=[entry for _, entry in images],
    )


def _understood(found: Collection, listing: FolderListing, tree: ClassTree) -> Understood:
    note = f" (not {tree.note})" if tree.note else ""
    return Understood(
        NAME,
        f"{tree.said}, {len(found.classes):,}{note}",
        tree.splits_said(),
        (*unlabelled_said(found.unlabelled), *left_out_said(listing)),
    )


def left_out_said(listing: FolderListing) -> tuple[str, ...]:
    """Returns what a reader of folders passes over, each with its count."""
    endings = listing.endings()
    files = sorted(endings.items(), key=lambda pair: (pair[0] not in IMAGE_LIKE, -pair[1], pair[0]))
    said = [
        f"{count:,} {ending or 'without an ending'}"
        + (f" ({remedy_for(ending)})" if ending in IMAGE_LIKE else "")
        for ending, count in files
    ]
    folders = [*listing.passed_over, *_without_images(listing)]
    if folders:
        shown = ", ".join(f"{name}/" for name in folders[:_MOST_SAID])
        more = " …" if len(folders) > _MOST_SAID else ""
        said.append(f"{len(folders)} folder{'s' * (len(folders) > 1)} {shown}{more}")
    return tuple(said)


def _without_images(listing: FolderListing) -> list[str]:
    """Returns the folders without images in or below them, the outermost of each."""
    full = {"/".join(p[:depth]) for p in _folders_of(listing) for depth in range(len(p) + 1)}
    empty = {folder for folder in listing.folders if folder not in full}
    return [folder for folder in listing.folders if folder in empty and _outer(folder) not in empty]


def _folders_of(listing: FolderListing) -> set[tuple[str, ...]]:
    return {folder_of(name) for name, _ in listing.images}


def _outer(folder: str) -> str:
    return folder.rpartition("/")[0]


def _refuse_empty_classes(
    root: Path, listing: FolderListing, tree: ClassTree, classes: set[str]
) -> None:
    """Raises `DataError` if a folder next to class folders is empty, or of a format not read."""
    for folder in _without_images(listing):
        above, name = folder_of(folder), folder.rpartition("/")[2]
        if above not in tree.parents or name in classes or split_of(name) is not None:
            continue
        inside = [
            (count, ending)
            for below, endings in listing.others.items()
            if below == folder or below.startswith(f"{folder}/")
            for ending, count in endings.items()
        ]
        strange = [pair for pair in inside if pair[1] in IMAGE_LIKE]
        if strange:
            count, ending = max(strange)
            raise DataError(
                f"{shown_path(root)}: the class folder {shortened(folder, 40)!r} holds {count} "
                f"{ending} and no image that Ravine reads; {remedy_for(ending)}"
            )
        if not inside:
            raise DataError(
                f"{shown_path(root)}: the class folder {shortened(folder, 40)!r} holds no image; "
                "add images or remove it"
            )


def _from_names(root: Path, listing: FolderListing, settings: DataSettings) -> Collection:
    form = str(settings.label_from_name)
    pattern = name_pattern(form)
    folders = {folder_of(name): None for name, _ in listing.images}
    tree = read_split_tree(folders, shown_path(root), settings.class_level)
    labels = [
        "" if tree.labels[folder_of(name)] == UNLABELLED else pattern.label_of(name)
        for name, _ in listing.images
    ]
    splits = [tree.splits[folder_of(name)] for name, _ in listing.images]
    if not any(labels):
        raise DataError(
            f"--label-from-name {shortened(form, 30)}: none of {len(labels):,} names in "
            f"{shown_path(root)} has a label by it, as {shortened(listing.images[0][0], 40)}"
        )
    labels, note = without_strange_splits(labels, splits)
    found = collected(listing.images, labels, splits)
    return replace(
        found,
        understood=Understood(
            NAME,
            f"from file names ({form}), {len(found.classes):,}{note}",
            tree.splits_said(found.given_splits),
            (*unlabelled_said(found.unlabelled), *left_out_said(listing)),
        ),
    )
