"""Writes docs/journal.md from the races that bench/journal.py has kept.

A difference is the mean over seeds of what was tried minus what is used today, on the same seed
(the same split, initial weights and order), in points of accuracy, with Student's 95 % interval.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results import RESULTS, kept, kept_machine
from scipy import stats

PAGE = Path(__file__).parents[1] / "docs" / "journal.md"
Entry = dict[str, Any]

_HEAD = """# The laboratory journal

    make journal FASHION=FOLDER CIFAR=FOLDER_OF_JPEG              # the races that are missing
    make journal FASHION=… CIFAR=… ROWS="--only muon --images 10000 --seeds 5"
    python bench/journal.py --page                                # this page again

{rules}

"""
_RULES = (
    "One idea at a time, by Ravine's own [races](race.md): what is used today against one change "
    "of it, `swift-1` at the defaults of each (no search), equal epochs (seconds where an idea is "
    "about time), on Fashion-MNIST and on "
    "CIFAR-10 as JPEG files, on seeds that both have in common. The difference is that of the "
    "accuracy on held-out images, what was tried minus what is used today, seed by seed, in "
    "points, with Student's 95 % interval. **An idea is kept only where the interval lies above 0 "
    "on both data sets.** Everything else is listed as what it was: not seen to be better. With so "
    "few images, epochs and seeds an interval is wide, and a tie says nothing about ten minutes of "
    "60,000 images."
)

_SCORED = (
    "A race scores on what it holds out, of few images a few hundred, which hides two points. Here "
    "every run trains on a fixed part of the training images and is scored on the 10,000 test "
    "images (the first of them where a row says so; `python bench/scored_on_test.py`), seed by "
    "seed; an interval above 0 on both data "
    "sets keeps an idea as well. The networks of the two races of cutmix, scored on all test "
    "images, differ by +1.2 (CIFAR-10) and +1.0 points (Fashion-MNIST), where their 500 held-out "
    "images said 0; and races began `swift-1` at a learning rate of 0.75 then, `ravine train` at "
    "0.3125 (they begin alike now). Learning rates of 2.5, 4 and 6 at batches of 256 make no "
    "difference: 85.2, 85.4 and 85.1 % after 3 passes over CIFAR-10, 92.4, 92.3 and 92.4 % of the "
    "sample's 2,000 test images after 12 over it (one seed). The rows of `model` have `swift-1` "
    "at a rate of 0.884, its default then; batches of 4 and 8 now have 0.442."
)


def write_page(ideas: Mapping[str, Any]) -> None:
    """Writes the page: what was kept, what was not, and every race with its command."""
    entries = kept("journal") if (RESULTS / "journal.json").exists() else {}
    text = _HEAD.format(rules=_RULES)
    if entries:
        text += f"On {kept_machine('journal')}.\n\n"
    scored = kept("scored-on-test")
    text += _table(ideas, entries) + _scored(scored) + _commands({**entries, **scored})
    unfinished = PAGE.with_suffix(".unfinished")
    unfinished.write_text(text)
    unfinished.rename(PAGE)


def _table(ideas: Mapping[str, Any], entries: Mapping[str, Entry]) -> str:
    lines = [
        "| idea | data | images (trained on) | epochs | seeds | today, % | tried, % | "
        "difference, points (95 %) | kept |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, idea in ideas.items():
        own = {key: e for key, e in entries.items() if key.split(", ")[0] == name}
        settled = verdict(list(own.values()))
        for entry in own.values():
            pairs = paired(entry)
            mean, low, high = difference(pairs)
            today, tried = (statistics.mean(values) for values in zip(*pairs, strict=True))
            setting, was, new = idea.vary
            length = "equal seconds" if entry["epochs"] is None else f"{entry['epochs']:g}"
            lines.append(
                f"| {idea.what} (`{setting}` {was} → {new}) | {entry['data']} | "
                f"{entry['images'] // 2:,} | {length} | {len(pairs)} | "
                f"{100 * today:.1f} | {100 * tried:.1f} | "
                f"{mean:+.1f} ({low:+.1f} to {high:+.1f}) | {settled} |"
            )
    return "\n".join(lines) + "\n\n"


def _scored(entries: Mapping[str, Entry]) -> str:
    """Returns the table of bench/scored_on_test.py."""
    lines = [
        "## Scored on the test images\n",
        f"{_SCORED}\n",
        "| setting | data | network | epochs | seeds | today, % | tried, % | "
        "difference, points (95 %) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries.values():
        if not (pairs := paired(entry)):
            continue
        mean, low, high = difference(pairs)
        interval = "(one seed)" if len(pairs) == 1 else f"({low:+.1f} to {high:+.1f})"
        today, tried = (statistics.mean(values) for values in zip(*pairs, strict=True))
        lines.append(
            f"| `{entry['setting']}` {entry['today']} → {entry['tried']} | {_data(entry)} | "
            f"{entry['model'] or '–'} | {entry['epochs']:g} | {len(pairs)} | {100 * today:.1f} | "
            f"{100 * tried:.1f} | {mean:+.1f} {interval} |"
        )
    return "\n".join(lines) + "\n\n" if entries else ""


def _data(entry: Entry) -> str:
    size = f", {entry['image_size']} px" if entry.get("image_size") else ""
    size += f", {entry['small_size']} px first" if entry.get("small_size") else ""
    tested = f" ({entry['tested']:,} tested)" if entry.get("tested") else ""
    return f"{entry['data']}{size}{tested}"


def paired(entry: Entry) -> list[tuple[float, float]]:
    """Returns the accuracies on each seed that both finished: today's, and the tried one's."""
    named = {value: entry["accuracies"][_name(entry, value)] for value in _values(entry)}
    today, tried = (named[value] for value in _values(entry))
    return [(today[seed], tried[seed]) for seed in sorted(today.keys() & tried.keys())]


def _values(entry: Entry) -> tuple[str, str]:
    return entry["today"], entry["tried"]


def _name(entry: Entry, value: str) -> str:
    """Returns a candidate's name in the race: the value, or setting=value."""
    return next(n for n in entry["accuracies"] if n.rpartition("=")[2] == value)


def difference(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Returns the mean of second minus first and its 95 % interval, in points.

    >>> tuple(round(v, 2) for v in difference([(0.5, 0.6), (0.5, 0.7), (0.5, 0.8)]))
    (20.0, -4.84, 44.84)
    """
    found = [100 * (second - first) for first, second in pairs]
    mean = statistics.mean(found)
    if len(found) < 2:
        return mean, -math.inf, math.inf
    half = float(stats.t.ppf(0.975, len(found) - 1))
    half *= statistics.stdev(found) / math.sqrt(len(found))
    return mean, mean - half, mean + half


def verdict(entries: Sequence[Entry]) -> str:
    """Returns whether an idea is kept: above 0 on both data sets, in every race of it."""
    found = [difference(paired(entry)) for entry in entries]
    if {entry["data"] for entry in entries} == {"fashion", "cifar"}:
        if all(low > 0 for _, low, _ in found):
            return "**yes**"
        if all(high < 0 for _, _, high in found):
            return "no, worse on both"
    return "no"


def _commands(entries: Mapping[str, Entry]) -> str:
    if not entries:
        return ""
    commands = dict.fromkeys(entry["command"] for entry in entries.values())
    return "## The races\n\n" + "".join(f"    {command}\n" for command in commands)
