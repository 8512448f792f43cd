"""A test problem: a function of two variables with its region, its start and its batches.

A function with noise is the mean of a loss over examples; a step sees a batch of them, the same
for every candidate. Reported losses are those of all examples.

Shapes in this file: points (..., 2), values (...), rows (N, C) of examples, batches (K, B) of
their numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ravine.core.errors import SettingError
from ravine.core.seeds import generator_for
from ravine.core.user_code import fault

Point = tuple[float, float]
Span = tuple[float, float]
Formula = Callable[..., Tensor]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The examples of a noisy function, which is their mean loss."""

    rows: Tensor
    """(N, C), float64."""

    loss: Formula
    """loss(x, y, *columns of a row), element by element."""

    batch: int
    """B: examples of a step."""

    def batches(self, steps: int, *, seed: int) -> Tensor:
        """Returns the example numbers of each step, (K, B) int64, drawn with replacement."""
        generator = generator_for("race batches", seed=seed)
        return torch.randint(len(self.rows), (steps, self.batch), generator=generator)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A function of two variables with its region, its start and its known minima."""

    name: str
    title: str
    text: str
    """The formula, as pictures show it."""

    shows: str
    """What the function shows about optimizers."""

    value: Formula
    """value(x, y) of tensors of one shape, element by element."""

    domain: tuple[Span, Span]
    start: Point
    minima: tuple[Point, ...] = ()
    lowest: float | None = None
    """The value at the minima; None where it is not known."""

    tolerance: float | None = None
    """Distance to the lowest value that counts as reached; None: 1/1000 of the median start's."""

    logarithmic: bool = True
    """Whether heights are drawn as logarithms."""

    curvatures: Point | None = None
    """Eigenvalues of a quadratic, for its convergence rates."""

    examples: Examples | None = None

    def values(self, points: Tensor) -> Tensor:
        """Returns the function at `points` (..., 2), (...) float64, in pieces of 16,384."""
        flat = points.reshape(-1, 2)
        with torch.no_grad():
            parts = [self._checked(part[:, 0], part[:, 1]) for part in flat.split(1 << 14)]
        return torch.cat(parts).reshape(points.shape[:-1])

    def gradients(self, points: Tensor, batch: Tensor | None = None) -> Tensor:
        """Returns the exact gradients at `points`, (..., 2) float64.

        Points where the function cannot be differentiated get NaN.

        Args:
            points: (..., 2) float64.
            batch: (B,) example numbers, of a noisy function; None for all examples.

        Raises:
            SettingError: the function has no gradient, or fails.
        """
        leaf = points.detach().requires_grad_()
        x, y = leaf[..., 0], leaf[..., 1]
        if self.examples is not None and batch is not None:
            columns = self.examples.rows[batch].T
            losses = self.examples.loss(x.unsqueeze(-1), y.unsqueeze(-1), *columns)
            total = losses.mean(-1).sum()
        else:
            total = self._checked(x, y).sum()
        if not total.requires_grad:
            raise SettingError(
                f"function {self.name}: its value does not depend on x and y by torch operations, "
                "so that it has no gradient"
            )
        (found,) = torch.autograd.grad(total, leaf)
        return found

    def check_start(self, start: Point) -> None:
        """Raises `SettingError` unless `start` lies inside, where the function is finite."""
        for axis, at, (low, high) in zip("xy", start, self.domain, strict=True):
            if not low <= at <= high:
                raise SettingError(
                    f"start {_shown(start)} is outside: {axis} of {self.name} goes from {low:g} to "
                    f"{high:g}; widen it with --domain or choose a start inside"
                )
        point = torch.tensor([start], dtype=torch.float64)
        if not bool(torch.isfinite(self.values(point)).all()):
            raise self.not_finite(start)

    def not_finite(self, at: Point) -> SettingError:
        """Returns the error for a point of the region where the function has no value."""
        region = ",".join(f"{low:g}:{high:g}" for low, high in self.domain)
        value = float(self.values(torch.tensor([at], dtype=torch.float64))[0])
        return SettingError(
            f"function {self.name} is {value:g} at {_shown(at)}, inside its region {region}: "
            "correct it, or leave that point out with --domain"
        )

    def draw_starts(self, count: int, purpose: str, *, seed: int) -> Tensor:
        """Returns `count` starts, uniform over the region, (count, 2) float64.

        Raises:
            SettingError: the function is not finite at one of them.
        """
        generator = generator_for(purpose, seed=seed)
        share = torch.rand((count, 2), generator=generator, dtype=torch.float64)
        low, high = torch.tensor(self.domain, dtype=torch.float64).T
        starts = low + share * (high - low)
        finite = torch.isfinite(self.values(starts))
        if not bool(finite.all()):
            x, y = starts[~finite][0].tolist()
            raise self.not_finite((x, y))
        return starts

    def _checked(self, x: Tensor, y: Tensor) -> Tensor:
        try:
            found: Any = self.value(x, y)
        except SettingError:
            raise
        except Exception as error:
            raise SettingError(
                f"function {self.name} fails on tensors x and y: {fault(error)}"
            ) from error
        if not isinstance(found, Tensor) or found.shape != x.shape:
            got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found)
            raise SettingError(
                f"function {self.name} must return a tensor like x and y, element by element "
                f"(shape {tuple(x.shape)}), got {got}"
            )
        return found


def _shown(at: Point) -> str:
    return f"({at[0]:.4g}, {at[1]:.4g})"
