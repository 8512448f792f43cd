"""What is in the data: told before training, and in the report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ravine.core.events import Notice, Observer
from ravine.data.collection import Collection
from ravine.data.dataset import Dataset
from ravine.data.decoded_cache import Store

_EXAMPLES = 20
_SIZES = 20
_IMBALANCED = 3.0  # times as many images in the largest class as in the smallest


def audit(
    collection: Collection,
    store: Store,
    splits: Mapping[str, np.ndarray],
    *,
    data: str,
    rule: str,
    kept_out: Sequence[tuple[int, int]],
    in_test: Sequence[tuple[int, int]],
    cached: bool,
    reading: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the plain content of audit.json."""
    readable = np.ones(len(collection.names), dtype=bool)
    readable[list(store.unreadable)] = False
    names = collection.names
    return {
        "data": data,
        "count": int(readable.sum()),
        "classes": _classes(collection, splits),
        "sizes": _sizes(store, readable),
        "modes": _modes(store, readable),
        "unreadable": [
            {"name": names[place], "reason": reason} for place, reason in store.unreadable.items()
        ],
        "unlabelled": {
            "images": len(collection.unlabelled),
            "examples": list(collection.unlabelled[:_EXAMPLES]),
        },
        **_twins(collection, store, readable),
        "leakage": {
            "images": len(kept_out) + len(in_test),
            "examples": [[names[a], names[b]] for a, b in [*kept_out, *in_test][:_EXAMPLES]],
            "action": _action(len(kept_out), len(in_test)),
        },
        "imbalance": _imbalance(collection, splits["train"]),
        "rule": rule,
        "reading": dict(reading),
        "seconds": store.seconds,
        "cached": cached,
    }


def _classes(collection: Collection, splits: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    count = len(collection.classes)
    per_split = {
        split: np.bincount(collection.labels[index], minlength=count).tolist()
        for split, index in splits.items()
    }
    return [
        {"name": name, "counts": {split: counts[place] for split, counts in per_split.items()}}
        for place, name in enumerate(collection.classes)
    ]


def _sizes(store: Store, readable: np.ndarray) -> list[dict[str, Any]]:
    found, counts = np.unique(store.sizes[readable], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_SIZES]
    return [{"size": f"{found[i][1]}x{found[i][0]}", "count": int(counts[i])} for i in order]


def _modes(store: Store, readable: np.ndarray) -> list[dict[str, Any]]:
    counts = np.bincount(store.modes[readable], minlength=len(store.mode_names))
    rows = [
        {"mode": name, "count": int(count)}
        for name, count in zip(store.mode_names, counts, strict=True)
    ]
    return sorted(rows, key=lambda row: -row["count"])


def _twins(collection: Collection, store: Store, readable: np.ndarray) -> dict[str, Any]:
    """Finds images with the same pixels, and among them those with different labels."""
    places = np.flatnonzero(readable)
    keys = store.digests[places].view(np.dtype((np.void, store.digests.shape[1]))).ravel()
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    groups: dict[int, list[int]] = {}
    for place, group in zip(places, inverse, strict=True):
        if counts[group] > 1:
            groups.setdefault(int(group), []).append(int(place))
    alike = sorted(groups.values())
    disputed = [group for group in alike if len({int(collection.labels[i]) for i in group}) > 1]
    return {
        "duplicates": {
            "groups": len(alike),
            "images": sum(len(group) for group in alike),
            "examples": [[collection.names[i] for i in group] for group in alike[:_EXAMPLES]],
        },
        "conflicts": [
            {
                "names": [collection.names[i] for i in group],
                "labels": [collection.classes[collection.labels[i]] for i in group],
            }
            for group in disputed[:_EXAMPLES]
        ],
    }


def _action(kept_out: int, in_test: int) -> str:
    told = []
    if kept_out:
        told.append(f"{kept_out} kept out of validation")
    if in_test:
        told.append(f"{in_test} test images are also trained on: the test result may be too good")
    return "; ".join(told) or "none found"


def _imbalance(collection: Collection, train: np.ndarray) -> dict[str, Any]:
    counts = Counter(collection.labels[train].tolist())
    smallest = min(counts, key=lambda label: counts[label])
    largest = max(counts, key=lambda label: counts[label])
    ratio = counts[largest] / counts[smallest]
    names = collection.classes
    advice = None
    if ratio >= _IMBALANCED:
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


def tell_audit(dataset: Dataset, tell: Observer) -> None:
    """Tells what the audit found, in a few lines."""

    def say(text: str, *, warning: bool = True) -> None:
        tell(Notice(text=text, warning=warning))

    found = dataset.audit
    counts = ", ".join(f"{len(index):,} {name}" for name, index in dataset.splits.items())
    say(f"{found['count']:,} images, {len(dataset.classes)} classes: {counts}", warning=False)
    say(found["rule"], warning=False)
    if found["reading"]["streamed"]:
        say(f"images are decoded while training: {found['reading']['why']}", warning=False)
    if unreadable := found["unreadable"]:
        first = f"the first {unreadable[0]['name']}: {unreadable[0]['reason']}"
        say(f"{len(unreadable)} unreadable files left out, {first}")
    if count := found["unlabelled"]["images"]:
        say(
            f"{count} images without a label left out, such as {found['unlabelled']['examples'][0]}"
        )
    if count := found["leakage"]["images"]:
        say(f"{count} images stand on both sides of the split: {found['leakage']['action']}")
    if advice := found["imbalance"]["advice"]:
        say(advice)
