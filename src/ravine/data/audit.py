"""The audit of a data set: printed before training, and shown in the report.

Shape letters: N images, C channels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ravine.core.counted import counted
from ravine.core.notice import Notice
from ravine.data.collection import Collection
from ravine.data.dataset import Dataset
from ravine.data.decoded_cache import DecodedCache
from ravine.data.duplicates import Leakage, duplicate_groups
from ravine.data.label_sets import (
    class_counts,
    described_label,
    facts_line,
    has_several,
    hashable_label,
    label_facts,
)
from ravine.data.rule_line import rule_line

_EXAMPLES = 20
_SIZES = 20
_IMBALANCED = 3.0  # times as many images in the largest class as in the smallest


def audit(
    collection: Collection,
    decoded: DecodedCache,
    splits: Mapping[str, np.ndarray],
    *,
    data: str,
    rule: str,
    leakage: Leakage,
    cached: bool,
    load_mode: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the plain content of audit.json.

    Args:
        collection: the N images.
        decoded: what decoding found out about them.
        splits: int64 indices (M,) by split.
        data: the source, as the user named it.
        rule: how size and channels were chosen, in a sentence.
        leakage: images on both sides of the split.
        cached: whether the decoded images were in the cache.
        load_mode: `LoadMode` as plain values.
    """
    readable, names = decoded.readable, collection.names
    return {
        "data": data,
        "understood": _understood(collection),
        "count": int(readable.sum()),
        "classes": _classes(collection, splits),
        "sizes": _sizes(decoded, readable),
        "modes": _modes(decoded, readable),
        **_left_out(collection, decoded),
        **_duplicates(collection, decoded, readable),
        "leakage": _leakage(leakage, names),
        "imbalance": _imbalance(collection, splits["train"]),
        "several": label_facts(collection.labels[readable], len(splits["train"]))
        if has_several(collection.labels)
        else None,
        "rule": rule,
        "reading": dict(load_mode),
        "seconds": decoded.seconds,
        "cached": cached,
    }


def _understood(collection: Collection) -> dict[str, Any]:
    """Returns what the source was taken for, in full and as one line."""
    found = collection.understood
    return {} if found is None else {**found.to_json(), "line": found.line()}


def _left_out(collection: Collection, decoded: DecodedCache) -> dict[str, Any]:
    names = collection.names
    return {
        "unreadable": [
            {"name": names[index], "reason": reason} for index, reason in decoded.unreadable.items()
        ],
        "unlabelled": {
            "images": len(collection.unlabelled),
            "examples": list(collection.unlabelled[:_EXAMPLES]),
        },
    }


def _classes(collection: Collection, splits: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    count = len(collection.classes)
    per_split = {
        split: class_counts(collection.labels[index], count).tolist()
        for split, index in splits.items()
    }
    return [
        {"name": name, "counts": {split: counts[label] for split, counts in per_split.items()}}
        for label, name in enumerate(collection.classes)
    ]


def _sizes(decoded: DecodedCache, readable: np.ndarray) -> list[dict[str, Any]]:
    found, counts = np.unique(decoded.sizes[readable], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_SIZES]
    return [{"size": f"{found[i][1]}x{found[i][0]}", "count": int(counts[i])} for i in order]


def _modes(decoded: DecodedCache, readable: np.ndarray) -> list[dict[str, Any]]:
    counts = np.bincount(decoded.modes[readable], minlength=len(decoded.mode_names))
    rows = [
        {"mode": name, "count": int(count)}
        for name, count in zip(decoded.mode_names, counts, strict=True)
    ]
    return sorted(rows, key=lambda row: -row["count"])


def _duplicates(
    collection: Collection, decoded: DecodedCache, readable: np.ndarray
) -> dict[str, Any]:
    """Returns images with the same pixels, and those of them with different labels."""
    duplicates = duplicate_groups(decoded.digests, readable)
    conflicts = [
        group
        for group in duplicates
        if len({hashable_label(collection.labels[i]) for i in group}) > 1
    ]
    return {
        "duplicates": {
            "groups": len(duplicates),
            "images": sum(len(group) for group in duplicates),
            "examples": [[collection.names[i] for i in group] for group in duplicates[:_EXAMPLES]],
        },
        "conflicts": [
            {
                "names": [collection.names[i] for i in group],
                "labels": [
                    described_label(collection.labels[i], collection.classes) for i in group
                ],
            }
            for group in conflicts[:_EXAMPLES]
        ],
    }


def _leakage(leakage: Leakage, names: Sequence[str]) -> dict[str, Any]:
    kept_out, in_test = leakage.kept_out, leakage.in_test
    return {
        "images": len(kept_out) + len(in_test),
        "examples": [[names[a], names[b]] for a, b in [*kept_out, *in_test][:_EXAMPLES]],
        "action": _action(len(kept_out), len(in_test)),
    }


def _action(kept_out: int, in_test: int) -> str:
    found = []
    if kept_out:
        found.append(f"{kept_out} kept out of validation")
    if in_test:
        found.append(f"{in_test} test images are also trained on: the test result may be too good")
    return "; ".join(found) or "none found"


def _imbalance(collection: Collection, train: np.ndarray) -> dict[str, Any]:
    found = class_counts(collection.labels[train], len(collection.classes)).tolist()
    counts = {label: count for label, count in enumerate(found) if count}
    smallest = min(counts, key=lambda label: counts[label])
    largest = max(counts, key=lambda label: counts[label])
    ratio = counts[largest] / counts[smallest]
    names = collection.classes
    advice = None
    # Labels are of different frequency by nature, where an image has several.
    if ratio >= _IMBALANCED and not has_several(collection.labels):
        advice = (
            f"class {names[largest]!r} has {ratio:.1f} times the images of {names[smallest]!r}: "
            "consider --balance loss or --balance sample"
        )
    return {
        "ratio": ratio,
        "smallest": names[smallest],
        "largest": names[largest],
        "advice": advice,
    }


def report_audit(dataset: Dataset, observer: Callable[[Notice], None]) -> None:
    """Passes the findings of the audit to `observer`, a notice each."""

    def notify(text: str, *, warning: bool = True) -> None:
        observer(Notice(text=text, warning=warning))

    found = dataset.audit
    if understood := found.get("understood"):
        details = {"understood": {k: v for k, v in understood.items() if k != "line"}}
        observer(Notice(text=understood["line"], details=details))
    counts = ", ".join(f"{len(index):,} {name}" for name, index in dataset.splits.items())
    notify(f"{found['count']:,} images, {len(dataset.classes)} classes: {counts}", warning=False)
    if facts := found["several"]:
        notify(facts_line(facts, "--labels-per-image one refuses them"), warning=False)
    notify(rule_line(found), warning=False)
    if found["reading"]["streamed"]:
        notify(f"images are decoded while training: {found['reading']['why']}", warning=False)
    for note in found.get("image_notes", ()):
        notify(note)
    for note in found.get("split_notes", ()):
        notify(note, warning=note.startswith("no validation") or "too good" in note)
    if unreadable := found["unreadable"]:
        first = f"the first {unreadable[0]['name']}: {unreadable[0]['reason']}"
        notify(f"{counted(len(unreadable), 'unreadable file')} left out, {first}")
    if count := found["unlabelled"]["images"]:
        notify(
            f"{counted(count, 'image')} without a label left out, such as "
            f"{found['unlabelled']['examples'][0]}"
        )
    if count := found["leakage"]["images"]:
        leaked = counted(count, "image")
        notify(f"{leaked} on both sides of the split: {found['leakage']['action']}")
    _report_copies(found, notify)
    if advice := found["imbalance"]["advice"]:
        notify(advice)


def _report_copies(found: Mapping[str, Any], notify: Callable[..., None]) -> None:
    """Notifies of equal images, and of those that stand under different labels."""
    if conflicts := found["conflicts"]:
        first = conflicts[0]
        many = (
            f"{_EXAMPLES} images or more stand"
            if len(conflicts) == _EXAMPLES
            else (f"{len(conflicts)} images stand" if len(conflicts) > 1 else "1 image stands")
        )
        notify(
            f"{many} under different labels: {' = '.join(first['names'][:3])}, which is "
            f"{' or '.join(dict.fromkeys(first['labels']))}"
            + ("" if found["several"] else "; where it has both: --labels-per-image several")
        )
    if (doubles := found["duplicates"])["groups"]:
        pair = " = ".join(doubles["examples"][0][:2])
        groups = counted(doubles["groups"], "group")
        text = f"{doubles['images']:,} images have copies, in {groups}"
        notify(f"{text}, such as {pair}", warning=False)
    if (near := found.get("near_duplicates", {})).get("pairs"):
        _report_near(near, notify)


def _report_near(near: Mapping[str, Any], notify: Callable[..., None]) -> None:
    """Notifies of images that are nearly equal, and of what is wrong with that."""
    pairs = counted(near["pairs"], "pair")
    text = f"{pairs} of images nearly equal, as of one saved again, mirrored or shifted"
    wrong = [
        f"{near[key]:,} of them {what}"
        for key, what in (
            ("different_labels", "under different labels"),
            ("across_the_split", "on both sides of the split: the result may be too good"),
        )
        if near[key]
    ]
    pair = " ≈ ".join(near["examples"][0])
    notify("; ".join([f"{text}, such as {pair}", *wrong]), warning=bool(wrong))
