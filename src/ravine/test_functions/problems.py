"""The test problems by name: those of the classical animations, and functions of one's own.

A. Radford, animations of optimizers, 2014 (Beale, long valley, saddle, noisy moons);
E. M. L. Beale 1958; H. H. Rosenbrock 1960; D. M. Himmelblau 1972; L. A. Rastrigin 1974;
J. Duchi, E. Hazan, Y. Singer 2011 (sparse features, for which AdaGrad was made).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import SettingError, unknown
from ravine.core.seeds import generator_for
from ravine.core.user_code import own_callable
from ravine.test_functions.problem import Examples, Problem, Span


def make_problem(name: str, *, domain: tuple[Span, Span] | None = None) -> Problem:
    """Returns the problem of a name, or that of a function of one's own, `module:callable`.

    Args:
        name: a row of `PROBLEMS`, or `module:callable`; the callable gets tensors x and y of one
            shape and returns a tensor of that shape. It may have the attributes `domain`,
            `start`, `minima` and `lowest`.
        domain: the region, in place of the problem's own.

    Raises:
        SettingError: there is no such function, or its attributes do not fit.
    """
    if name in PROBLEMS:
        found = PROBLEMS[name]()
    elif ":" in name:
        found = _own(name)
    else:
        raise unknown("function", name, [*PROBLEMS, "module:callable"])
    if domain is None:
        return found
    inside = all(low <= at <= high for at, (low, high) in zip(found.start, domain, strict=True))
    middle = ((domain[0][0] + domain[0][1]) / 2, (domain[1][0] + domain[1][1]) / 2)
    return replace(found, domain=domain, start=found.start if inside else middle)


def beale() -> Problem:
    """Returns Beale's function: steep walls around a long flat floor."""

    def value(x: Tensor, y: Tensor) -> Tensor:
        return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2

    return Problem(
        name="beale",
        title="Beale",
        text="(1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²",
        shows="steep walls and a long flat floor: who is thrown out, who creeps",
        value=value,
        domain=((-4.5, 4.5), (-4.5, 4.5)),
        start=(1.0, 1.5),
        minima=((3.0, 0.5),),
        lowest=0.0,
        tolerance=1e-3,
    )


def valley() -> Problem:
    """Returns a long valley: a gentle floor along x between steep walls."""
    return Problem(
        name="valley",
        title="Long valley",
        text="ln(1 + x²) + 10 y²",
        shows="steep walls, a gentle floor: the walls allow only a small learning rate",
        value=lambda x, y: torch.log1p(x**2) + 10 * y**2,
        domain=((-10.0, 4.0), (-2.0, 2.0)),
        start=(-9.0, 1.5),
        minima=((0.0, 0.0),),
        lowest=0.0,
        tolerance=1e-3,
    )


def saddle() -> Problem:
    """Returns a saddle between two minima, started a thousandth off its ridge."""
    side = math.sqrt(2)
    return Problem(
        name="saddle",
        title="Saddle point",
        text="5x² − y² + y⁴/4",
        shows="a start almost on the ridge: who leaves it, and when",
        value=lambda x, y: 5 * x**2 - y**2 + y**4 / 4,
        domain=((-2.0, 2.0), (-2.2, 2.2)),
        start=(-1.6, 0.001),
        minima=((0.0, side), (0.0, -side)),
        lowest=-1.0,
        tolerance=1e-3,
        logarithmic=False,
    )


def rosenbrock() -> Problem:
    """Returns Rosenbrock's function: a bent valley."""
    return Problem(
        name="rosenbrock",
        title="Rosenbrock",
        text="(1 − x)² + 100 (y − x²)²",
        shows="a bent valley: into it is easy, along it is not",
        value=lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
        domain=((-2.0, 2.0), (-1.0, 3.0)),
        start=(-1.5, 2.5),
        minima=((1.0, 1.0),),
        lowest=0.0,
        tolerance=1e-3,
    )


def himmelblau() -> Problem:
    """Returns Himmelblau's function: four minima of the same depth."""
    return Problem(
        name="himmelblau",
        title="Himmelblau",
        text="(x² + y − 11)² + (x + y² − 7)²",
        shows="four minima: where each one ends",
        value=lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
        domain=((-5.0, 5.0), (-5.0, 5.0)),
        start=(-0.5, -1.0),
        minima=(
            (3.0, 2.0),
            (-2.8051180869527448, 3.1313125182505730),
            (-3.7793102533777469, -3.2831859912861694),
            (3.5844283403304917, -1.8481265269644034),
        ),
        lowest=0.0,
        tolerance=1e-3,
    )


def rastrigin() -> Problem:
    """Returns Rastrigin's function: a bowl with a hundred dents."""

    def value(x: Tensor, y: Tensor) -> Tensor:
        turn = 2 * math.pi
        return 20 + x**2 - 10 * torch.cos(turn * x) + y**2 - 10 * torch.cos(turn * y)

    return Problem(
        name="rastrigin",
        title="Rastrigin",
        text="20 + x² − 10 cos 2πx + y² − 10 cos 2πy",
        shows="a hundred minima: who is caught, who jumps",
        value=value,
        domain=((-5.12, 5.12), (-5.12, 5.12)),
        start=(-2.4, 3.4),
        minima=((0.0, 0.0),),
        lowest=0.0,
        tolerance=0.01,
        logarithmic=False,
    )


def quadratic() -> Problem:
    """Returns a quadratic with curvatures 1 and 40, for which the convergence rates are known."""
    low, high = 1.0, 40.0
    return Problem(
        name="quadratic",
        title="Quadratic",
        text="½ (x² + 40 y²)",
        shows="curvatures 1 and 40: the measured convergence rate against the theory",
        value=lambda x, y: 0.5 * (low * x**2 + high * y**2),
        domain=((-10.0, 4.0), (-2.0, 2.0)),
        start=(-9.0, 1.5),
        minima=((0.0, 0.0),),
        lowest=0.0,
        tolerance=1e-6,
        curvatures=(low, high),
    )


def moons() -> Problem:
    """Returns the log-loss of a linear classifier of two noisy moons; x and y are its weights."""
    generator = generator_for("noisy moons", seed=0)
    count = 50
    angle = torch.linspace(0, math.pi, count, dtype=torch.float64)
    upper = torch.stack([angle.cos(), angle.sin()], dim=1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], dim=1)
    moons = torch.cat([upper, lower])
    moons = moons + 0.25 * torch.randn(moons.shape, generator=generator, dtype=torch.float64)
    moons = (moons - moons.mean(0)) / moons.std(0)
    sides = torch.cat([torch.ones(count, 1), -torch.ones(count, 1)]).double()
    rows = torch.cat([moons, sides], dim=1)
    return _mean_of(
        Examples(rows=rows, loss=_log_loss, batch=5),
        Problem(
            name="moons",
            title="Noisy moons",
            text="mean of ln(1 + exp(−t (xa + yb))) over 100 examples, 5 of them a step",
            shows="a linear classifier of two moons: every step sees other examples",
            value=_log_loss,
            domain=((-4.0, 4.0), (-4.0, 4.0)),
            start=(-3.0, 3.0),
            tolerance=0.005,
        ),
    )


def _log_loss(x: Tensor, y: Tensor, a: Tensor, b: Tensor, side: Tensor) -> Tensor:
    return F.softplus(-side * (x * a + y * b))


def sparse() -> Problem:
    """Returns a least-squares fit of two features, one of which is seldom non-zero."""
    generator = generator_for("sparse features", seed=0)
    count, seldom = 400, 8
    common = torch.randn(count, generator=generator, dtype=torch.float64)
    rare = torch.zeros(count, dtype=torch.float64)
    rare[:seldom] = torch.tensor([1.0, -1.0]).repeat(seldom // 2).double()
    noise = 0.3 * torch.randn(count, generator=generator, dtype=torch.float64)
    rows = torch.stack([common, rare, common + rare + noise], dim=1)
    return _mean_of(
        Examples(rows=rows, loss=_squared_error, batch=8),
        Problem(
            name="sparse",
            title="Sparse features",
            text="mean of ½ (xa + yb − t)² over 400 examples, 8 of them a step; b ≠ 0 in 2 %",
            shows="y moves only when its feature comes up, in 2 % of the examples: AdaGrad's case",
            value=_squared_error,
            domain=((-2.0, 2.0), (-2.0, 2.0)),
            start=(-1.5, -1.5),
            tolerance=0.001,
        ),
    )


def _squared_error(x: Tensor, y: Tensor, a: Tensor, b: Tensor, target: Tensor) -> Tensor:
    return 0.5 * (x * a + y * b - target) ** 2


def _mean_of(examples: Examples, unsolved: Problem) -> Problem:
    """Returns the problem of the mean over the examples, with its minimum by Newton's method."""

    def value(x: Tensor, y: Tensor) -> Tensor:
        columns = examples.rows.T
        return examples.loss(x.unsqueeze(-1), y.unsqueeze(-1), *columns).mean(-1)

    def at(point: Tensor) -> Tensor:
        return value(point[0], point[1])

    point = torch.zeros(2, dtype=torch.float64)
    for _ in range(20):
        slope = torch.autograd.functional.jacobian(at, point)
        point = point - torch.linalg.solve(torch.autograd.functional.hessian(at, point), slope)
    x, y = point.tolist()
    return replace(
        unsolved,
        minima=((x, y),),
        lowest=float(at(point)),
        value=value,
        examples=examples,
    )


PROBLEMS: Mapping[str, Callable[[], Problem]] = {
    "beale": beale,
    "valley": valley,
    "saddle": saddle,
    "rosenbrock": rosenbrock,
    "himmelblau": himmelblau,
    "rastrigin": rastrigin,
    "quadratic": quadratic,
    "moons": moons,
    "sparse": sparse,
}


def _own(name: str) -> Problem:
    """Returns the problem of `module:callable`."""
    value = own_callable("function", name, code=AllowedCode(frozenset([name])))
    domain = getattr(value, "domain", ((-5.0, 5.0), (-5.0, 5.0)))
    try:
        (left, right), (bottom, top) = domain
        region = ((float(left), float(right)), (float(bottom), float(top)))
        middle = ((region[0][0] + region[0][1]) / 2, (region[1][0] + region[1][1]) / 2)
        x, y = getattr(value, "start", middle)
        start = (float(x), float(y))
        minima = tuple((float(a), float(b)) for a, b in getattr(value, "minima", ()))
        lowest = getattr(value, "lowest", None)
        lowest = None if lowest is None else float(lowest)
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"function {name}: its domain is ((x from, x to), (y from, y to)), its start (x, y), "
            f"its minima a list of (x, y), its lowest a number: {error}"
        ) from None
    text = (getattr(value, "__doc__", None) or "").strip().partition("\n")[0]
    return Problem(
        name=name,
        title=name.partition(":")[2],
        text=text or name,
        shows="a function of your own",
        value=value,
        domain=region,
        start=start,
        minima=minima,
        lowest=lowest,
    )
