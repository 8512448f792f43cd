"""The trajectories of all candidates on one plane of the user's own network.

The plane contains the last weights of the best candidate and the two principal components of all
candidates' weights, during and at the end of training. The loss is that of training images without
augmentation, the same at every node.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ravine.core.allowed_code import AllowedCode
from ravine.core.atomic import write_whole
from ravine.core.errors import RavineError
from ravine.core.progress import Progress
from ravine.landscapes.loss_surface import landscape
from ravine.landscapes.trajectory import Point
from ravine.reports.race_figures import colours, plane
from ravine.runs.folder import RunFolder
from ravine.runs.surface import Surface
from ravine.training.loss import plain_loss_of_each
from ravine.workflows.race_images import training_images
from ravine.workflows.race_plan import RaceSpec
from ravine.workflows.run import Run

_SHARE, _LEAST, _MOST = 0.1, 3.0, 20.0  # seconds: of the race's, at least, at most
_NODES = 31
_IMAGES, _BATCH = 512, 64


def draw_plane(
    spec: RaceSpec,
    runs: Mapping[str, Path],
    race: Path,
    *,
    names: Sequence[str],
    elapsed: float,
    code: AllowedCode,
    progress: Progress,
) -> str | None:
    """Writes plane.svg and plane.npz into `race`; returns the reason if it cannot, else None.

    Args:
        spec: of the race.
        runs: the run folder of a fresh seed of each candidate, the best candidate first.
        race: the folder.
        names: of all candidates, in the order of their colours.
        elapsed: seconds of the race, which decide those of the plane.
        code: the `module:callable`s that may be imported as networks.
        progress: observer of the nodes.
    """
    if not runs:
        return "no candidate came to its end"
    try:
        seconds = min(max(_SHARE * elapsed, _LEAST), _MOST)
        surface, trajectories = _surface(spec, runs, seconds, code, progress)
    except RavineError as error:
        return str(error)
    shades = colours(names)
    surface.save(race / "plane.npz")
    write_whole(race / "plane.svg", plane(surface, trajectories, shades).encode())
    return None


def _surface(
    spec: RaceSpec,
    runs: Mapping[str, Path],
    seconds: float,
    code: AllowedCode,
    progress: Progress,
) -> tuple[Surface, dict[str, np.ndarray]]:
    """Returns the surface, and the indices (N,) of each candidate in its trajectory."""
    best, *others = runs
    allowed = sorted(code.names)
    points: list[Point] = list(_waypoints(runs[best]))
    belongs = [best] * len(points)
    for name in others:
        own: list[Point] = list(_waypoints(runs[name]))
        own.append(dict(Run.load(runs[name], allow_code=allowed).model.state_dict()))
        points += own
        belongs += [name] * len(own)
    best_run = Run.load(runs[best], allow_code=allowed)
    surface = landscape(
        best_run.model,
        plain_loss_of_each(several=best_run.trained.several),
        training_images(spec, count=_IMAGES, batch=_BATCH),
        along="trajectory",
        trajectory=points,
        nodes=_NODES,
        budget=seconds,
        seed=spec.race.seed,
        progress=progress,
    )
    owners = np.array([*belongs, best])
    trajectories = {name: np.flatnonzero(owners == name) for name in runs}
    return replace(surface, about={**surface.about, "entrants": owners.tolist()}), trajectories


def _waypoints(run: Path) -> list[Path]:
    return sorted(RunFolder(run).weights.glob("step-*.safetensors"))
