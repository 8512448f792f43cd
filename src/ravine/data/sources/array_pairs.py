"""Images and labels in arrays of one or several files: found by their names, and read.

An array's name is a word for images or for labels, with or without a split before or after it:
x_train, train_images, y, test_labels. Arrays of other names are not read.

Shape letters: N images, H height, W width, C channels, K classes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.pixel_array import BlockArray, PixelArray, files_key, joined
from ravine.data.sources.array_images import ImageLayout, image_layout
from ravine.data.sources.array_labels import label_values, labelled_classes, one_form
from ravine.data.sources.name_words import ORDER, SPLIT_WORDS, words
from ravine.data.sources.stored_array import StoredArray, described, read_array
from ravine.data.sources.value_range import Scale, as_bytes, common_scale, range_of
from ravine.data.understanding import Understood

IMAGE_WORDS = frozenset({"x", "image", "images", "img", "imgs", "data"})
LABEL_WORDS = frozenset({"y", "label", "labels", "target", "targets"})


@dataclass(frozen=True, slots=True)
class ArrayPair:
    """The images and labels of one split.

    Attributes:
        split: train, validation or test; None where the names say none.
        images: the images.
        labels: the labels.
    """

    split: str | None
    images: StoredArray
    labels: StoredArray


@dataclass(frozen=True, slots=True)
class PairedArrays:
    """The pairs that the names of arrays give.

    Attributes:
        pairs: a split each, training first.
        left_out: names of arrays of images that have no labels.
    """

    pairs: tuple[ArrayPair, ...]
    left_out: tuple[str, ...] = ()


def array_pairs(
    path: Path, names: Sequence[str], array: Callable[[str], StoredArray]
) -> PairedArrays:
    """Returns the pairs of images and labels among the arrays of a file.

    Args:
        path: of the file.
        names: of its arrays.
        array: returns one of them by its name.

    Raises:
        DataError: there is no pair, or two arrays are meant by one name.
    """
    images, labels = _named(path, names, IMAGE_WORDS), _named(path, names, LABEL_WORDS)
    found = [split for split in (*ORDER, None) if split in images and split in labels]
    if not found:
        shown = ", ".join(names[:6]) + (" …" if len(names) > 6 else "")
        raise DataError(
            f"{path} has the arrays {shown or 'none'}; "
            "wanted are x_train and y_train (x_test, y_test), or images and labels"
        )
    if None in found and len(found) > 1:
        raise DataError(
            f"{path} has {images[None]!r}, which names no split, beside {images[found[0]]!r}; "
            "rename it, as in x_train, or leave it out"
        )
    pairs = [ArrayPair(split, array(images[split]), array(labels[split])) for split in found]
    return PairedArrays(tuple(pairs), tuple(images[s] for s in images if s not in labels))


def _named(path: Path, names: Sequence[str], kind: frozenset[str]) -> Mapping[str | None, str]:
    """Returns the arrays of a kind by the split in their names."""
    found: dict[str | None, str] = {}
    for name in names:
        said = words(name)
        splits = [SPLIT_WORDS[word] for word in said if word in SPLIT_WORDS]
        if len(said) - len(splits) != 1 or len(splits) > 1 or not kind & set(said):
            continue
        split = splits[0] if splits else None
        if split in found:
            raise DataError(
                f"{path} has the arrays {found[split]!r} and {name!r}, both "
                f"{'labels' if 'y' in kind else 'images'}; leave one of them out"
            )
        found[split] = name
    return found


def read_array_pairs(
    layout: str,
    found: PairedArrays,
    class_names: StoredArray | None = None,
    *,
    labels_per_image: str = "auto",
    channels: int | None = None,
) -> Collection:
    """Returns the images of pairs of arrays.

    Args:
        layout: name of the layout, for the line on what was understood.
        found: the pairs, of one or several files.
        class_names: array (K,) of names, or None.
        labels_per_image: as in `DataSettings`.
        channels: that are asked for; see `image_layout`.

    Raises:
        DataError: the arrays do not fit each other, or cannot be images and labels.
    """
    pairs = found.pairs
    layouts = [image_layout(pair.images, channels) for pair in pairs]
    for pair, one in zip(pairs, layouts, strict=True):
        if one.shape[1:] != layouts[0].shape[1:]:
            raise DataError(
                f"{pair.images.path}: {described(pair.images)} and {described(pairs[0].images)} "
                "hold images of different size or channels; make them equal"
            )
    counts = [(pair.split, one.shape[0]) for pair, one in zip(pairs, layouts, strict=True)]
    values = one_form(
        [label_values(pair.labels, pair.images.shape[0]) for pair in pairs],
        asked=labels_per_image,
        source=str(pairs[0].labels.path),
    )
    named = None if class_names is None else read_array(class_names)
    classes, labels = labelled_classes(pairs[0].labels, _same_kind(pairs, values), named)
    splits = any(pair.split for pair in pairs)
    return Collection(
        names=[f"{split or 'images'}[{i}]" for split, count in counts for i in range(count)],
        labels=labels,
        classes=classes,
        given_splits=[split for split, count in counts for _ in range(count)] if splits else (),
        pixels=_pixels(pairs, layouts),
        content_key=_key(pairs),
        understood=Understood(
            layout,
            f"the array {pairs[0].labels.name}, {len(classes)}",
            "splits: the arrays' names" if splits else "",
            tuple(f"{name} without labels" for name in found.left_out),
        ),
    )


def _same_kind(pairs: Sequence[ArrayPair], values: Sequence[np.ndarray]) -> np.ndarray:
    """Returns all labels, (N,) or (N, K); refuses text in one split and numbers in another."""
    text = [one.dtype.kind == "U" for one in values]
    if any(text) and not all(text):
        raise DataError(
            f"{pairs[0].labels.path}: labels are text in {pairs[text.index(True)].labels.name} and "
            f"numbers in {pairs[text.index(False)].labels.name}"
        )
    return np.concatenate(values)


def _key(pairs: Sequence[ArrayPair]) -> str:
    paths = list(dict.fromkeys(one.path for pair in pairs for one in (pair.images, pair.labels)))
    return files_key(paths, " ".join(f"{p.images.path}/{p.images.name}" for p in pairs))


def _pixels(pairs: Sequence[ArrayPair], layouts: Sequence[ImageLayout]) -> PixelArray:
    """Returns the images of all pairs; what their values mean is decided when they are read."""
    decided: list[Scale] = []

    def part(pair: ArrayPair, layout: ImageLayout) -> PixelArray:
        def blocks() -> Iterator[np.ndarray]:
            if not decided:
                decided.append(_scale([pair.images for pair in pairs]))
            for block in pair.images.blocks():
                yield layout.arranged(as_bytes(block, decided[0]))

        return BlockArray(layout.shape, blocks)

    return joined([part(pair, layout) for pair, layout in zip(pairs, layouts, strict=True)])


def _scale(arrays: Sequence[StoredArray]) -> Scale:
    ranges = [range_of(f"{a.path}: {a.name}", a.dtype, a.blocks) for a in arrays]
    return common_scale(ranges)
