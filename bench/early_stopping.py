"""How often early stopping loses the later winner of a race: 40 races, with and without.

    python bench/early_stopping.py [--races 40]

Each race has three of five optimizers, six trials of each at the points of `ravine race`, one-cycle
rates that fall to 0, and three fresh seeds; networks of 10 to 60 thousand weights, hundreds of
steps on the sample at half size. A trial that goes on is bitwise the one that was never paused, so
every trial is trained once, to its end, and the rungs are read off its losses; the fresh seeds run
for both choices. Chance alone changes the first place too: beside it stands how often it differs
between the fresh seeds and three others, without early stopping in both.

    lost          the best of the whole race is significantly worse than another in the short one
    first place   another candidate has the best mean

Results: bench/results/early-stopping.json.
"""

import argparse
import math
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from results import keep
from torch import Tensor, nn

from ravine.optim.settings import OptimizerSettings
from ravine.schedules.scheduler import Scheduler
from ravine.schedules.settings import ScheduleSettings
from ravine.tournament.rungs import rungs, search_cost, survivors
from ravine.tournament.statistics import Standing, standings
from ravine.tournament.trial_points import at_point, points
from ravine.workflows.race_worker.loss_file import recent_loss

sys.path.insert(0, str(Path(__file__).parent / "faults"))
from data import images
from situation import convnet, mlp

OPTIMIZERS = ("momentum", "adagrad", "rmsprop", "adam", "nadam")
NETWORKS = ("mlp", "mlp with norm", "convolutions", "convolutions with norm")
STEPS = (100, 200, 300)
TRIALS, SEEDS, BATCH = 6, 3, 64
Settings = Mapping[str, float]


def network(kind: str) -> nn.Module:
    norm = kind.endswith("norm")
    return mlp(48, norm=norm) if kind.startswith("mlp") else convnet(6, norm=norm)


class Setting:
    """What the runs of one race share."""

    def __init__(self, race: int) -> None:
        chance = random.Random(race)
        self.race, self.kind = race, NETWORKS[race % len(NETWORKS)]
        self.steps = chance.choice(STEPS)
        self.optimizers = sorted(chance.sample(OPTIMIZERS, 3))
        (self.x, self.y), (held_x, held_y) = images("fashion", None)
        self.validation, self.test = (
            (held_x[:500], held_y[:500]),
            (held_x[500:], held_y[500:]),
        )

    def trials(self, optimizer: str) -> list[Settings]:
        settings = OptimizerSettings(optimizer=optimizer)
        lr = settings.default_lr(batch=BATCH, normalised=self.kind.endswith("norm"))
        free = {"lr", "eps"} - ({"eps"} if optimizer == "momentum" else set())
        free |= {"momentum"} if settings.has_momentum else set()
        found = points(TRIALS, seed=self.race)
        return [{"lr": lr, **at_point(one, free=free, default_lr=lr)} for one in found]

    def train(self, optimizer: str, given: Settings, seed: int) -> tuple[list[float | None], float]:
        """Returns the loss of each step (None where not finite), and the accuracy at the end.

        That is the one on validation images for the seed of the race, on test images for others.
        """
        torch.manual_seed(seed)
        model = network(self.kind)
        settings = OptimizerSettings(optimizer=optimizer, **given)
        made = settings.build_optimizer(model)
        curves = ScheduleSettings().build_schedules()
        scheduler = Scheduler(made, steps=self.steps, **curves)
        chance, losses = torch.Generator().manual_seed(seed), list[float | None]()
        order = torch.cat([torch.randperm(len(self.x), generator=chance) for _ in range(4)])
        for step in range(self.steps):
            scheduler.set(step)
            part = order[step * BATCH : (step + 1) * BATCH]
            losses.append(_one_step(model, made, self.x[part], self.y[part]))
        held = self.validation if seed == self.race else self.test
        return losses, _accuracy(model, *held)

    def on_seeds(self, optimizer: str, given: Settings, seeds: Sequence[int]) -> dict[int, float]:
        """Returns the accuracies of the runs that ended, by seed."""
        found = {}
        for seed in seeds:
            losses, accuracy = self.train(optimizer, given, 1000 + seed + 100 * self.race)
            if recent_loss(losses) is not None:
                found[seed] = accuracy
        return found


def _one_step(model: nn.Module, made: Any, x: Tensor, y: Tensor) -> float | None:
    model.train()
    made.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    made.step()
    value = float(loss.detach())
    return value if math.isfinite(value) else None


@torch.no_grad()
def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model.eval()(x).argmax(1) == y).double().mean())


def kept_to_the_end(losses: Sequence[Sequence[float | None]]) -> list[int]:
    """Returns the trials that early stopping lets end."""
    alive = list(range(len(losses)))
    for rung in rungs(len(losses), early=True):
        until = max(1, math.ceil(rung.share * len(losses[0])))
        alive = survivors({t: recent_loss(losses[t][:until]) for t in alive}, rung.keep)
    return alive


def one_race(number: int) -> dict[str, Any]:
    """Returns what a race says with early stopping, without, and without on other seeds."""
    setting = Setting(number)
    whole: dict[str, dict[int, float]] = {}
    short, again, searches = dict(whole), dict(whole), []
    for optimizer in setting.optimizers:
        trials = setting.trials(optimizer)
        ran = [setting.train(optimizer, one, number) for one in trials]
        losses = [found for found, _ in ran]
        ended = [t for t in range(TRIALS) if recent_loss(losses[t]) is not None]
        best = max(ended, key=lambda t: (ran[t][1], -t))
        kept = [t for t in kept_to_the_end(losses) if t in ended]
        chosen = max(kept, key=lambda t: (ran[t][1], -t)) if kept else None
        whole[optimizer] = setting.on_seeds(optimizer, trials[best], range(SEEDS))
        again[optimizer] = setting.on_seeds(optimizer, trials[best], range(SEEDS, 2 * SEEDS))
        same = chosen == best
        short[optimizer] = whole[optimizer] if same else (
            {} if chosen is None else setting.on_seeds(optimizer, trials[chosen], range(SEEDS))
        )  # fmt: skip
        points_lost = 100 * (_mean(short[optimizer]) - _mean(whole[optimizer]))
        searches.append(
            {
                "optimizer": optimizer,
                "best kept": best in kept,
                "points on fresh seeds": round(points_lost, 2),
            }
        )
    said = {"whole": whole, "short": short, "again": again}
    tables = {name: _table(found, setting) for name, found in said.items()}
    first = {name: table[0].name for name, table in tables.items()}
    in_short = next(s for s in tables["short"] if s.name == first["whole"])
    in_again = next(s for s in tables["again"] if s.name == first["whole"])
    return {
        "race": number, "network": setting.kind, "steps": setting.steps, "first": first,
        "lost": in_short.rank > 1, "lost by chance": in_again.rank > 1,
        "points of the best": round(100 * (tables["short"][0].mean - tables["whole"][0].mean), 2),
        "searches": searches,
    }  # fmt: skip


def _mean(found: Mapping[int, float]) -> float:
    return float(np.mean(list(found.values()))) if found else 0.0


def _table(found: Mapping[str, Mapping[int, float]], setting: Setting) -> list[Standing]:
    return standings(found, resolution=1 / len(setting.test[1]))[0]


def summary(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    searches = [one for race in found for one in race["searches"]]
    lost = np.array([one["points on fresh seeds"] for one in searches])
    first = [race["first"] for race in found]
    best = [race["points of the best"] for race in found]
    return {
        "races": len(found),
        "lost": sum(race["lost"] for race in found),
        "lost by chance, on other seeds": sum(race["lost by chance"] for race in found),
        "other first place": sum(one["short"] != one["whole"] for one in first),
        "other first place by chance": sum(one["again"] != one["whole"] for one in first),
        "points of the best, mean": round(float(np.mean(best)), 2),
        "searches": len(searches),
        "searches whose best trial was stopped": sum(not one["best kept"] for one in searches),
        "points of a candidate, mean": round(float(lost.mean()), 2),
        "candidates more than 2 points worse": int((lost < -2).sum()),
        "candidates more than 2 points better": int((lost > 2).sum()),
        "whole runs a search takes": round(search_cost(TRIALS, early=True), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--races", type=int, default=40)
    races = parser.parse_args().races
    torch.set_num_threads(1)
    found, began = [], time.process_time()
    for number in range(races):
        found.append(one_race(number))
        print({k: v for k, v in found[-1].items() if k != "searches"}, flush=True)
    figures = {
        **summary(found),
        "processor seconds": round(time.process_time() - began),
        "runs": found,
    }
    print({k: v for k, v in figures.items() if k != "runs"})
    keep("early-stopping", f"python bench/early_stopping.py --races {races}", figures)


if __name__ == "__main__":
    main()
