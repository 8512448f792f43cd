"""The plane of a training run: principal components of its weights about the last point.

The rows of R are w₀ − wₙ, …, wₙ₋₁ − wₙ: not centred, since the plane goes through wₙ. With
R Rᵀ = U S² Uᵀ (a matrix as large as there are points) the components are Rᵀ U S⁻¹. Both products
are summed over slices of the weights, read from disk one by one, so that the memory does not grow
with the number of points.
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

_SLICE = 4_000_000  # float64 values of all points together in memory at a time, at most

Point = Path | Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryPlane:
    """Two directions of length 1, and the coordinates of the points about the last one.

    Attributes:
        directions: principal components, the first one first; tensors of the parameters' shapes.
        explained: share of the points' squared length along each.
        coordinates: (T, 2) of the points; the last is the origin.
        off_plane: (T,) distance to the plane over the distance to the last point, 0 for it.
    """

    directions: list[Direction]
    explained: tuple[float, float]
    coordinates: np.ndarray
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
    vectors, squares = _components(gram)
    lengths = np.sqrt(squares)
    weights = torch.from_numpy((vectors / lengths).T.copy())
    directions = _combined(model, points, weights)
    if len(directions) == 1:
        directions.append([torch.zeros_like(part) for part in directions[0]])
    coordinates = np.zeros((len(points) + 1, 2))
    coordinates[:-1, : len(lengths)] = vectors * lengths
    shares = [*(float(square / np.trace(gram)) for square in squares), 0.0]
    return TrajectoryPlane(
        directions=directions,
        explained=(shares[0], shares[1]),
        coordinates=coordinates,
        off_plane=_off_plane(np.diag(gram), coordinates),
    )


def _components(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns eigenvectors (T - 1, C) and eigenvalues (C,) of R Rᵀ, C = 2, or 1 on a line.

    A trajectory on a line has no second component; any other direction would be invented.
    """
    squares, vectors = np.linalg.eigh(gram)
    squares, vectors = squares[::-1].clip(0), vectors[:, ::-1]
    if squares[0] <= 0 or not np.isfinite(np.trace(gram)):
        raise SettingError("the points of the trajectory are all the same; there is no plane")
    count = 2 if squares[1] > 1e-12 * squares[0] else 1
    return vectors[:, :count], squares[:count]


def _off_plane(distance: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Returns (T,) distances to the plane over those to the last point, from their squares."""
    rest = (distance - (coordinates[:-1] ** 2).sum(1)).clip(0)
    rest[rest < 1e-12 * distance] = 0.0
    found = np.zeros(len(coordinates))
    found[:-1] = np.sqrt(np.divide(rest, distance, where=distance > 0, out=0 * rest))
    return found


def _gram(model: nn.Module, points: Sequence[Point]) -> np.ndarray:
    gram = np.zeros((len(points), len(points)))
    for _, _, _, rows in _rows(model, points):
        gram += (rows @ rows.T).numpy()
    return gram


def _combined(model: nn.Module, points: Sequence[Point], weights: Tensor) -> list[Direction]:
    parameters = list(moved_parameters(model).values())
    made = [[torch.zeros_like(p, requires_grad=False) for p in parameters] for _ in weights]
    for index, start, stop, rows in _rows(model, points):
        for direction, row in zip(made, weights, strict=True):
            part = (row @ rows).to(direction[index])
            lines = _lines(direction[index])[start:stop]
            lines.copy_(part.reshape(lines.shape))
    return made


def _lines(tensor: Tensor) -> Tensor:
    """Returns the tensor as a view with at least one axis."""
    return tensor if tensor.dim() else tensor[None]


def _rows(model: nn.Module, points: Sequence[Point]) -> Iterator[tuple[int, int, int, Tensor]]:
    """Yields for each slice: parameter index, start, stop, and R's columns there, (T, …) float64.

    A slice is smaller than the weights themselves in float32; all slices share one buffer.
    """
    moved, count = moved_parameters(model), len(points)
    most = min(_SLICE, sum(p.numel() for p in moved.values()) // 4)
    lines = {name: max(1, p.numel() // len(_lines(p))) for name, p in moved.items()}
    buffer = torch.empty(max(most, count * max(lines.values())), dtype=torch.float64)
    for index, (name, p) in enumerate(moved.items()):
        last = _lines(p.detach())
        step = max(1, most // (lines[name] * (count + 1)))
        for start in range(0, len(last), step):
            stop = min(start + step, len(last))
            here = last[start:stop].double().cpu().reshape(-1)
            rows = buffer[: count * len(here)].view(count, -1)
            for row, point in zip(rows, points, strict=True):
                torch.sub(_slice(point, name, p.shape, start, stop), here, out=row)
            yield index, start, stop, rows


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
    """Yields the names and tensors of a point, of any shapes, one at a time: no copy of all."""
    if not isinstance(point, Path):
        yield from point.items()
        return
    with safe_open(point, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            yield name, file.get_tensor(name)
