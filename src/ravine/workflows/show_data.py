"""`ravine data`: what is understood of a data set, without training. Loads no torch.

First what a look at the names gives, within seconds; then all images are decoded, which fills the
cache for the training, and audited.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ravine.core.progress import Progress, no_progress
from ravine.data.audit import report_audit
from ravine.data.collection import Collection
from ravine.data.contact_sheet import write_contact_sheet
from ravine.data.dataset import Dataset
from ravine.data.label_sets import class_counts, has_several
from ravine.data.near_duplicates import with_near_duplicates
from ravine.data.opening import find_training_images, open_collection
from ravine.data.settings import DataSettings


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DataShown:
    """What decoding and the audit found.

    Attributes:
        audit: plain values, as in audit.json, with splits, the fingerprint and the sheet.
        lines: the same in sentences, each with whether it is a warning.
    """

    audit: dict[str, Any]
    lines: list[tuple[str, bool]]


def first_answer(settings: DataSettings, progress: Progress = no_progress) -> Collection:
    """Returns the images that `settings` name, as far as their names tell.

    Raises:
        DataError: there are none to train on.
    """
    return find_training_images(settings, progress)


def found_row(collection: Collection, settings: DataSettings) -> dict[str, Any]:
    """Returns the first answer as plain values."""
    counts = class_counts(collection.labels, len(collection.classes))
    understood = collection.understood
    given = Counter(split or "none" for split in collection.given_splits)
    groups = set(collection.groups) - {""}
    return {
        "data": settings.data,
        "understood": None if understood is None else understood.to_json(),
        "images": len(collection.names),
        "labels_per_image": "several" if has_several(collection.labels) else "one",
        "classes": [
            {"name": name, "images": int(count)}
            for name, count in zip(collection.classes, counts, strict=True)
        ],
        "splits_of_its_own": dict(given),
        "groups": len(groups),
        "unlabelled": len(collection.unlabelled),
    }


def audited(
    collection: Collection,
    settings: DataSettings,
    *,
    seed: int,
    sheet: Path | None,
    progress: Progress = no_progress,
) -> DataShown:
    """Returns what decoding and the audit find, and writes the contact sheet.

    Args:
        collection: from `first_answer`.
        settings: of the data.
        seed: decides the split, as in training.
        sheet: the PNG to write, or None.
        progress: called while decoding.

    Raises:
        DataError: the data cannot be used.
        RunError: the sheet cannot be written.
    """
    dataset = open_collection(collection, settings, seed=seed, progress=progress)
    dataset = with_near_duplicates(dataset)
    lines: list[tuple[str, bool]] = []
    report_audit(dataset, lambda notice: lines.append((notice.text, notice.warning)))
    found = dict(dataset.audit)
    found["splits"] = {name: len(index) for name, index in dataset.splits.items()}
    found["fingerprint"] = dataset.fingerprint
    found["input"] = _input(dataset)
    found["sheet"] = None
    if sheet is not None:
        count = write_contact_sheet(sheet, dataset)
        found["sheet"] = str(sheet)
        lines.append((f"{count} images as the network sees them: {sheet}", False))
    return DataShown(audit=found, lines=lines)


def _input(dataset: Dataset) -> dict[str, Any]:
    return dataset.preprocessing.to_json()
