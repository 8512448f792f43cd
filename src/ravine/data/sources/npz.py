"""A .npz file with arrays of images and labels, by the names in common use.

x_train y_train x_val y_val x_test y_test     Keras
train_images train_labels val_… test_…        MedMNIST
images labels; x y; data targets              one split
"""

from pathlib import Path

from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.settings import DataSettings
from ravine.data.sources.array_pairs import array_pairs, read_array_pairs
from ravine.data.sources.npz_file import array_names, npy_array

_CLASS_NAMES = ("classes", "class_names", "label_names")


def is_npz(path: Path) -> bool:
    """Returns whether a path is a file that ends in .npz."""
    return path.suffix.lower() == ".npz" and path.is_file()


def read_npz(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of a .npz: x_train and y_train and the like, or images and labels.

    Images are (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 to 16 channels, bytes in 0..255
    or floats in 0..1; labels are whole numbers, text, or rows of
    0 and 1; `classes` may name the classes.

    Raises:
        DataError: an array is missing, holds objects, or has another shape.
    """
    names = array_names(path)
    found = array_pairs(path, names, lambda name: npy_array(path, name))
    listed = next((name for name in _CLASS_NAMES if name in names), None)
    class_names = None if listed is None else npy_array(path, listed)
    return read_array_pairs(
        "npz",
        found,
        class_names,
        labels_per_image=settings.labels_per_image,
        channels=settings.channel_count,
    )
