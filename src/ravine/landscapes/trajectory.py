"""The plane that a training run moved in: principal components about its last point.

The rows of R are w₀ − wₙ, …, wₙ₋₁ − wₙ: not centred, since the plane goes through wₙ. With
R Rᵀ = U S² Uᵀ (a matrix as large as there are points) the components are Rᵀ U S⁻¹. Both products
are summed over slices of the weights that are read from disk as they are needed, so that the
memory does not grow with the number of points.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ravine.core.errors import RunError, SettingError
from ravine.landscapes.directions import Direction, moved_parameters

_SLICE = 4_000_000  # float64 values of all points together that are held at a time, at most

Point = Path | Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryPlane:
    """Two directions of length 1, and where the points lie about the last one.

    Attributes:
        directions: principal components, the first one first.
        explained: share of the points' squared length along each.
        places: (T, 2) coordinates of the points; the last is the origin.
        off_plane: (T,) distance to the plane over the distance to the last point, 0 for it.
    """

    directions: list[Direction]
    explained: tuple[float, float]
    places: np.ndarray
    off_plane: np.ndarray


def trajectory_plane(model: nn.Module, points: Sequence[Point]) -> TrajectoryPlane:
    """Returns the plane of the first two principal components about the model's weights.

    Args:
        model: the last point.
        points: the points before it: safetensors files, or mappings of name to tensor.

    Raises:
        SettingError: fewer than two points differ from the model.
        RunError: a file is torn, or belongs to another network.
    """
    if len(points) < 2:
        raise SettingError(
            f"a trajectory needs at least 2 points before the last, got {len(points)}; "
            "train with --keep-weights 20"
        )
    gram = _gram(model, points)
    squares, vectors = np.linalg.eigh(gram)
    squares, vectors = squares[::-1].clip(0), vectors[:, ::-1]
    total = float(np.trace(gram))
    if squares[0] <= 0 or not np.isfinite(total):
        raise SettingError("the points of the trajectory are all the same; there is no plane")
    # A trajectory on a line has no second component; any other direction would be invented.
    second = squares[1] > 1e-12 * squares[0]
    used = 2 if second else 1
    lengths = np.sqrt(squares[:used])
    weights = torch.from_numpy((vectors[:, :used] / lengths).T.copy())
    directions = _combined(model, points, weights)
    places = np.zeros((len(points) + 1, 2))
    places[:-1, :used] = vectors[:, :used] * lengths
    distance = np.diag(gram)
    rest = (distance - (places[:-1] ** 2).sum(1)).clip(0)
    rest[rest < 1e-12 * distance] = 0.0
    off_plane = np.zeros(len(points) + 1)
    off_plane[:-1] = np.sqrt(np.divide(rest, distance, where=distance > 0, out=0 * rest))
    if not second:
        directions.append([torch.zeros_like(part) for part in directions[0]])
    shares = [float(s / total) for s in squares[:used]]
    explained = (shares[0], shares[1] if second else 0.0)
    return TrajectoryPlane(
        directions=directions, explained=explained, places=places, off_plane=off_plane
    )


def _gram(model: nn.Module, points: Sequence[Point]) -> np.ndarray:
    gram = np.zeros((len(points), len(points)))
    for _, _, _, rows in _rows(model, points):
        gram += (rows @ rows.T).numpy()
    return gram


def _combined(model: nn.Module, points: Sequence[Point], weights: Tensor) -> list[Direction]:
    parameters = list(moved_parameters(model).values())
    made = [[torch.zeros_like(p, requires_grad=False) for p in parameters] for _ in weights]
    for place, start, stop, rows in _rows(model, points):
        for direction, row in zip(made, weights, strict=True):
            part = (row @ rows).to(direction[place])
            _lines(direction[place])[start:stop] = part.reshape(
                _lines(direction[place])[start:stop].shape
            )
    return made


def _lines(tensor: Tensor) -> Tensor:
    """Returns the tensor as a view with at least one axis."""
    return tensor if tensor.dim() else tensor[None]


def _rows(model: nn.Module, points: Sequence[Point]) -> Iterator[tuple[int, int, int, Tensor]]:
    """Gives, slice by slice: parameter, start, stop, and R's columns there (T, …) float64.

    A slice is smaller than the weights themselves in float32, and lies where the one before lay.
    """
    moved, count = moved_parameters(model), len(points)
    most = min(_SLICE, sum(p.numel() for p in moved.values()) // 4)
    lines = {name: max(1, p.numel() // len(_lines(p))) for name, p in moved.items()}
    held = torch.empty(max(most, count * max(lines.values())), dtype=torch.float64)
    for place, (name, p) in enumerate(moved.items()):
        last = _lines(p.detach())
        step = max(1, most // (lines[name] * (count + 1)))
        for start in range(0, len(last), step):
            stop = min(start + step, len(last))
            here = last[start:stop].double().cpu().reshape(-1)
            rows = held[: count * len(here)].view(count, -1)
            for row, point in zip(rows, points, strict=True):
                torch.sub(_slice(point, name, p.shape, start, stop), here, out=row)
            yield place, start, stop, rows


def _slice(point: Point, name: str, shape: torch.Size, start: int, stop: int) -> Tensor:
    if isinstance(point, Path):
        try:
            with safe_open(point, framework="pt") as file:
                stored = file.get_slice(name)
                found = torch.Size(stored.get_shape())
                part = stored[start:stop] if found else file.get_tensor(name)
        except FileNotFoundError:
            raise RunError(f"no file {point}") from None
        except SafetensorError as error:
            raise RunError(f"{point} is torn or of another network: {error}") from error
    else:
        if name not in point:
            raise RunError(f"a point of the trajectory has no weight {name!r}; is it this network?")
        found = point[name].shape
        part = _lines(point[name])[start:stop]
    if found != shape:
        raise RunError(
            f"a point of the trajectory has {name} of shape {tuple(found)}, "
            f"the network {tuple(shape)}; is it this network?"
        )
    return part.detach().double().cpu().reshape(-1)


def tensors_of(point: Point) -> Iterator[tuple[str, Tensor]]:
    """Gives the tensors of a point by name, one at a time, so that no copy of all is made."""
    if not isinstance(point, Path):
        yield from point.items()
        return
    with safe_open(point, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            yield name, file.get_tensor(name)
