"""Writes docs/leaderboard.md from what bench/leaderboard.py has kept, one section a machine.

An accuracy's interval is that of its mean over the seeds (Student's t) and of the 10,000 test
images (normal), added in squares: 95 %. The ratio of two errors has the same two parts, on its
logarithm; the test images are the same for both, which would make it narrower and is left out.
"""

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.contestants import CONTESTANTS
from results import RESULTS
from scipy import stats

PAGE = Path(__file__).parents[1] / "docs" / "leaderboard.md"
TEST_IMAGES = 10_000
Run = dict[str, Any]

_HEAD = """# The leaderboard: accuracy within so many seconds

    python -m venv peers && peers/bin/pip install -r bench/peers/requirements.txt
    make leaderboard FASHION=FOLDER CIFAR=FOLDER_OF_JPEG PEERS=peers/bin/python \\
        ROWS="--data cifar --budget 2min --seeds 3"
    python bench/leaderboard.py --page          # this page again, from what was kept

{rules}

"""
_RULES = (
    "Every contestant trains on the same image files, from fresh weights, for the same seconds on "
    "the same machine, one after the other, and predicts the same 10,000 test images, of whose "
    "labels it sees nothing; one script scores all predictions. The seconds are those of training, "
    "from when the data is ready: imports, listing and caching files, and predicting are free for "
    "all. Nobody holds images out, averages over views of a test image, or looks at a test image "
    "before. The settings stand in `bench/peers/contestants.py`, as many of each; they were chosen "
    "before a row was measured, and where a row had tuning trials, every contestant had as many."
)
_WHO = """| | how it trains |
|---|---|
"""
_AUTOGLUON = (
    "\nAutoGluon is not among them: autogluon.multimodal 1.6.3 wants torch < 2.14 and timm < 1.0.7,"
    " and does not install beside the others.\n\n"
)
_NONE = "No row has been measured on a machine that does nothing else: the commands are above.\n"


def write_page() -> None:
    """Writes the page, of every machine that has kept something."""
    text = _HEAD.format(rules=_RULES) + _WHO
    text += "".join(f"| {who} | {one.what} |\n" for who, one in CONTESTANTS.items())
    text += _AUTOGLUON
    files = sorted(RESULTS.glob("leaderboard-*.json"))
    text += "".join(_machine(json.loads(file.read_text())) for file in files) or _NONE
    unfinished = PAGE.with_suffix(".unfinished")
    unfinished.write_text(text)
    unfinished.rename(PAGE)


def _machine(kept: dict[str, Any]) -> str:
    machine, runs = kept["machine"], kept["figures"]["runs"]
    text = (
        f"## {machine['processor']}, {machine['cores']} cores, {machine['level']}\n\n"
        "| data | seconds | contestant | network | accuracy, % (95 %) | seeds | epochs | "
        "error over the best peer's (95 %) |\n|---|---|---|---|---|---|---|---|\n"
    )
    for data, budget in dict.fromkeys((r["data"], r["budget, s"]) for r in runs):
        row = [r for r in runs if (r["data"], r["budget, s"]) == (data, budget)]
        text += "".join(_lines(data, budget, row))
    return text + _versions(runs) + "\n"


def _lines(data: str, budget: float, runs: Sequence[Run]) -> list[str]:
    of = {who: [r for r in runs if r["who"] == who] for who in CONTESTANTS}
    of = {who: found for who, found in of.items() if found}
    means = {who: statistics.mean(r["accuracy, %"] for r in found) for who, found in of.items()}
    peers = sorted((who for who in of if who != "ravine"), key=lambda who: -means[who])
    lines = []
    for who in sorted(of, key=lambda who: -means[who]):
        low, high = accuracy_interval([r["accuracy, %"] for r in of[who]])
        against = ""
        if who == "ravine" and peers:
            ratio = error_ratio(*([r["accuracy, %"] for r in of[w]] for w in (who, peers[0])))
            against = f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f}), of {peers[0]}"
        networks = ", ".join(dict.fromkeys(r["network"] for r in of[who]))
        epochs = statistics.mean(r["epochs"] for r in of[who])
        lines.append(
            f"| {data} | {budget:g} | {who} | {networks} | {means[who]:.2f} ({low:.2f} to "
            f"{high:.2f}) | {len(of[who])} | {epochs:.1f} | {against} |\n"
        )
    return lines


def accuracy_interval(accuracies: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % interval of a mean accuracy in per cent; one seed has its images' alone.

    >>> tuple(round(v, 2) for v in accuracy_interval([90.0, 90.0, 90.0]))
    (89.41, 90.59)
    """
    mean = statistics.mean(accuracies)
    share = mean / 100
    images = 1.96 * 100 * math.sqrt(share * (1 - share) / TEST_IMAGES)
    half = math.hypot(images, _half_width(accuracies))
    return mean - half, min(100.0, mean + half)


def error_ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Returns the ratio of two mean errors and its 95 % interval, from accuracies in per cent.

    >>> tuple(round(v, 2) for v in error_ratio([90.0, 90.0], [80.0, 80.0]))
    (0.5, 0.47, 0.54)
    """
    errors = [[(100 - v) / 100 for v in found] for found in (ours, theirs)]
    means = [statistics.mean(found) for found in errors]
    parts = [1.96 * math.sqrt((1 - e) / (TEST_IMAGES * e)) for e in means]
    parts += [_half_width(found) / e for found, e in zip(errors, means, strict=True)]
    half = math.hypot(*parts)
    ratio = means[0] / means[1]
    return ratio, ratio * math.exp(-half), ratio * math.exp(half)


def _half_width(values: Sequence[float]) -> float:
    """Returns half the 95 % interval of a mean over seeds, by Student's t; of one seed 0."""
    if len(values) < 2:
        return 0.0
    t = float(stats.t.ppf(0.975, len(values) - 1))
    return t * statistics.stdev(values) / math.sqrt(len(values))


def _versions(runs: Sequence[Run]) -> str:
    versions = dict.fromkeys((r["who"], r["version"]) for r in runs)
    busy = [r for r in runs if r.get("others' cores before", 0.0) > 0.3]
    dates = sorted({r["date"] for r in runs})
    text = "\nVersions: " + "; ".join(f"{who} {of}" for who, of in versions) + ". "
    text += f"Measured {dates[0]}" + (f" to {dates[-1]}. " if len(dates) > 1 else ". ")
    trials = sorted({r["trials"] for r in runs})
    text += (
        f"Tuning trials of each contestant: {' or '.join(str(t if t > 1 else 0) for t in trials)}."
    )
    if any(len([r for r in runs if r["who"] == w]) == 1 for w in {r["who"] for r in runs}):
        text += " A row of one seed has the interval of its test images alone."
    if busy:
        text += f" {len(busy)} of {len(runs)} runs began while the machine had other work."
    return text + "\n"
