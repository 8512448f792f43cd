"""False winners and power of races, by simulation: equal candidates, runs that break, one better.

    python bench/race_statistics.py [--races 2000]

Each seed has a difficulty that all candidates share (2 points), each run its own chance (1 point),
and results are shares of 1,000 images. A race has a false winner where the verdict names one of
several equal candidates. Results: bench/results/race-statistics.json.
"""

import argparse
from typing import Any

import numpy as np
from results import keep

from ravine.tournament.statistics import standings, verdict

_IMAGES = 1000
# Candidates, seeds, share of runs that break, spread of one candidate over that of the others.
_EQUAL = (
    (2, 3, 0.0, 1), (2, 5, 0.0, 1), (3, 3, 0.0, 1), (5, 3, 0.0, 1), (5, 5, 0.0, 1),
    (2, 3, 0.1, 1), (2, 3, 0.3, 1), (5, 3, 0.1, 1), (5, 3, 0.3, 1), (5, 5, 0.3, 1),
    (5, 3, 0.0, 5), (8, 3, 0.1, 5),
)  # fmt: skip
_BETTER = (0.02, 0.04, 0.06)  # by which one of five is better


def share_of_winners(
    races: int, candidates: int, seeds: int, breaks: float, wide: float, better: float
) -> tuple[float, float]:
    """Returns the shares of races with a winner, and with the better candidate as winner."""
    chance = np.random.default_rng(0)
    any_wins = best_wins = 0
    for _ in range(races):
        spread = np.full((candidates, 1), 0.01)
        spread[0] *= wide
        mean = 0.85 + 0.02 * chance.standard_normal(seeds)
        share = mean + spread * chance.standard_normal((candidates, seeds))
        share[-1] += better
        counts = chance.binomial(_IMAGES, share.clip(0, 1)) / _IMAGES
        ended = chance.random((candidates, seeds)) >= breaks
        results = {
            f"c{i}": {s: float(counts[i, s]) for s in range(seeds) if ended[i, s]}
            for i in range(candidates)
        }
        said = verdict(*standings(results, resolution=1 / _IMAGES))
        any_wins += " wins" in said
        best_wins += said.startswith(f"c{candidates - 1} wins")
    return any_wins / races, best_wins / races


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--races", type=int, default=2000)
    races = parser.parse_args().races
    figures: dict[str, Any] = {"races": races, "false winners": [], "true winners": []}
    for candidates, seeds, breaks, wide in _EQUAL:
        found, _ = share_of_winners(races, candidates, seeds, breaks, wide, 0.0)
        row = {"candidates": candidates, "seeds": seeds, "breaks": breaks, "wide": wide}
        figures["false winners"].append({**row, "share": round(found, 4)})
        print(f"| {candidates} | {seeds} | {breaks:.0%} | {wide} | {found:.1%} |", flush=True)
    for better in _BETTER:
        _, found = share_of_winners(races // 4, 5, 3, 0.0, 1, better)
        figures["true winners"].append({"points": 100 * better, "share": round(found, 3)})
        print(f"one of 5 better by {100 * better:g} points, 3 seeds: {found:.0%}", flush=True)
    keep("race-statistics", f"python bench/race_statistics.py --races {races}", figures)


if __name__ == "__main__":
    main()
