"""Pictures of the data, for the report: augmented training images, and images of doubtful labels.

    RUN/pictures/  index.json · training-00.png … · pair-00-0.png …

The training images are those of the first steps, exactly as the network is given them: cropped,
flipped, mixed, with holes. A wrong augmentation, or labels that are not those of the images, show
at a glance.

Shape letters: B images of a batch, C channels, S height and width, K classes.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ravine.core.atomic import make_folder, write_whole
from ravine.data.bands import as_picture
from ravine.data.batches import StepBatches
from ravine.data.dataset import Dataset, Preprocessing
from ravine.data.label_sets import described_label
from ravine.runs.folder import RunFolder
from ravine.runs.rows import write_json
from ravine.training.loop import Training

_TRAINING_IMAGES = 24
_PAIRS = 12
_LEAST_SHARE = 0.005  # of a target that a caption names
_NAMED = 2  # classes in a caption at most


def keep_data_pictures(folder: RunFolder, training: Training, dataset: Dataset) -> None:
    """Writes the pictures of a run's data into its folder.

    Args:
        folder: of the run, which has not begun.
        training: whose first batches are shown.
        dataset: that it trains on.

    Raises:
        RunError: the disk is full or read-only.
    """
    make_folder(folder.pictures)
    rows = {
        "training": _training_images(folder.pictures, training.batches, dataset),
        "pairs": _pairs(folder.pictures, dataset),
    }
    write_json(folder.pictures / "index.json", rows)


def _training_images(folder: Path, batches: StepBatches, dataset: Dataset) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in range(batches.steps_per_epoch):
        batch = batches.whole_batch_at(step)
        room = _TRAINING_IMAGES - len(rows)
        pixels = as_bytes(batch.images[:room], dataset.preprocessing)
        for image, target in zip(pixels, batch.targets, strict=False):
            name = f"training-{len(rows):02d}.png"
            _write_png(folder / name, image)
            rows.append({"image": name, "label": caption_of(target, dataset.classes)})
        if len(rows) == _TRAINING_IMAGES:
            break
    return rows


def as_bytes(images: Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """Returns normalised images (B, C, S, S) as pixels (B, S, S, C) uint8."""
    values = images.float().cpu().permute(0, 2, 3, 1).numpy()
    std, mean = (np.array(one, np.float32) for one in (preprocessing.std, preprocessing.mean))
    values = values * std + mean
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)


def caption_of(target: Tensor, classes: Sequence[str]) -> str:
    """Returns the class of a target, 0-dim, or those of a mixed one, (K,), with their shares.

    Of several labels that are not mixed it is all of them.

    >>> import torch
    >>> caption_of(torch.tensor([0.75, 0.0, 0.25]), ["cat", "dog", "emu"])
    'cat 75 %, emu 25 %'
    """
    if target.ndim == 0 or bool(((target == 0) | (target == 1)).all()):
        return described_label(target.cpu().numpy(), classes)
    shares = [(float(share), name) for share, name in zip(target, classes, strict=True)]
    largest = sorted((one for one in shares if one[0] > _LEAST_SHARE), reverse=True)[:_NAMED]
    if len(largest) == 1:
        return largest[0][1]
    return ", ".join(f"{name} {share:.0%}".replace("%", " %") for share, name in largest)


def _pairs(folder: Path, dataset: Dataset) -> list[dict[str, Any]]:
    """Writes images that the audit found twice, those under different labels first."""
    audit = dataset.audit
    found = [("different labels", row["names"]) for row in audit.get("conflicts", [])]
    found += [("on both sides of the split", p) for p in audit.get("leakage", {})["examples"]]
    near = audit.get("near_duplicates", {}).get("examples", [])
    found += [("nearly equal", names) for names in near]
    found += [("copies", names) for names in audit.get("duplicates", {})["examples"]]
    pairs = _first_of_each(found)[:_PAIRS]
    wanted = {name for _, names in pairs for name in names}
    index = {name: k for k, name in enumerate(dataset.names) if name in wanted}
    rows = []
    for number, (kind, names) in enumerate(pairs):
        images = [f"pair-{number:02d}-{side}.png" for side in range(len(names))]
        for image, name in zip(images, names, strict=True):
            _write_png(folder / image, np.asarray(dataset.images[index[name]]))
        labels = [described_label(dataset.labels[index[name]], dataset.classes) for name in names]
        rows.append({"kind": kind, "names": list(names), "labels": labels, "images": images})
    return rows


def _first_of_each(found: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[str, tuple[str, str]]]:
    """Returns the first two names of each group, a pair of names once."""
    seen: set[frozenset[str]] = set()
    pairs = []
    for kind, names in found:
        pair = (names[0], names[1])
        if frozenset(pair) not in seen:
            seen.add(frozenset(pair))
            pairs.append((kind, pair))
    return pairs


def _write_png(path: Path, pixels: np.ndarray) -> None:
    buffer = io.BytesIO()
    as_picture(pixels).save(buffer, "PNG")
    write_whole(path, buffer.getvalue())
