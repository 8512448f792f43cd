"""Class-per-folder trees, with or without train, validation and test folders above them."""

from pathlib import Path

from ravine.core.errors import DataError
from ravine.data.collection import SPLIT_NAMES, Collection, FileEntry, class_order, label_indices
from ravine.data.sources.listing import folders_in, image_files, printable


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


def read_folders(root: Path) -> Collection:
    """Returns the images of a tree; the folder's name is the class.

    Raises:
        DataError: there are no class folders, or no images in them.
    """
    roots = _roots(root)
    names: list[str] = []
    entries: list[FileEntry] = []
    given: list[str | None] = []
    found: list[str] = []
    loose: list[str] = []
    for split, prefix, folder_path in roots:
        for name, entry in image_files(folder_path):
            folder, slash, _ = name.partition("/")
            if not slash:
                loose.append(prefix + name)
                continue
            names.append(prefix + name)
            entries.append(entry)
            given.append(split)
            found.append(folder)
    if not names:
        raise _nothing(root, loose)
    empty = _empty_classes(roots, set(found))
    if empty:
        raise DataError(
            f"{root}: the class folder {empty[0]!r} holds no image; add images or remove it"
        )
    classes = class_order(set(found))
    return Collection(
        names=names,
        labels=label_indices(found, classes),
        classes=classes,
        given_splits=given if roots[0][0] else (),
        files=entries,
        unlabelled=loose,
    )


def _roots(root: Path) -> list[tuple[str | None, str, Path]]:
    """Returns (split, prefix of names, folder) of each folder that holds class folders."""
    folders = folders_in(root)
    splits = [name for name in folders if name.lower() in SPLIT_NAMES]
    # A class may be called `train`, but then it holds images and not folders of them.
    has_train = any(
        SPLIT_NAMES[name.lower()] == "train" and folders_in(root / name) for name in splits
    )
    if not has_train:
        return [(None, "", root)]
    for name in folders:
        if name not in splits and next(image_files(root / name), None) is not None:
            raise DataError(
                f"{root} has {splits[0]}/ for a split and also {name}/ with images; "
                f"move {name}/ away or into a split"
            )
    return [(SPLIT_NAMES[name.lower()], f"{name}/", root / name) for name in splits]


def _empty_classes(roots: list[tuple[str | None, str, Path]], found: set[str]) -> list[str]:
    named = {printable(name) for _, _, folder in roots for name in folders_in(folder)}
    return sorted(named - found)


def _nothing(root: Path, loose: list[str]) -> DataError:
    if loose:
        return DataError(
            f"{root} holds {len(loose)} images but no class folders; sort them into one folder "
            "per class, or name a CSV: --labels train.csv"
        )
    return DataError(
        f"{root} holds no images; Ravine looks for one folder per class, a CSV (--labels), "
        "IDX, CIFAR or .npz files"
    )
