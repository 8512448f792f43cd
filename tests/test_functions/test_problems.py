"""The functions: their minima, gradients, batches, and those of one's own."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from ravine.core.errors import SettingError
from ravine.test_functions.problems import PROBLEMS, make_problem

every_problem = pytest.mark.parametrize("name", sorted(PROBLEMS))
everyone_smooth = pytest.mark.parametrize("name", sorted(set(PROBLEMS) - {"moons", "sparse"}))

# Written again without looking, in numpy.
FORMULAS = {
    "beale": lambda x, y: sum(
        (c - x * (1 - y**n)) ** 2 for n, c in ((1, 1.5), (2, 2.25), (3, 2.625))
    ),
    "valley": lambda x, y: np.log(1 + x * x) + 10 * y * y,
    "saddle": lambda x, y: 5 * x * x + (y * y / 2 - 1) ** 2 - 1,
    "rosenbrock": lambda x, y: (x - 1) ** 2 + 100 * (x * x - y) ** 2,
    "himmelblau": lambda x, y: (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2,
    "rastrigin": lambda x, y: sum(10 + u * u - 10 * np.cos(2 * np.pi * u) for u in (x, y)),
    "quadratic": lambda x, y: x * x / 2 + 20 * y * y,
}


@everyone_smooth
def test_values_and_gradients_are_those_of_the_formula(name: str) -> None:
    at = make_problem(name)
    points = at.draw_starts(50, "test", seed=3)
    x, y = points.numpy().T
    ε = 1e-6

    assert at.values(points).numpy() == pytest.approx(FORMULAS[name](x, y), rel=1e-10)
    slope = (FORMULAS[name](x + ε, y) - FORMULAS[name](x - ε, y)) / (2 * ε)
    assert at.gradients(points)[:, 0].numpy() == pytest.approx(slope, rel=1e-4, abs=1e-4)
    slope = (FORMULAS[name](x, y + ε) - FORMULAS[name](x, y - ε)) / (2 * ε)
    assert at.gradients(points)[:, 1].numpy() == pytest.approx(slope, rel=1e-4, abs=1e-4)


@every_problem
def test_the_minima_are_minima_and_nothing_is_lower(name: str) -> None:
    at = make_problem(name)
    minima = torch.tensor(at.minima, dtype=torch.float64)

    assert at.lowest is not None
    assert at.values(minima).numpy() == pytest.approx(at.lowest, abs=1e-9)
    assert at.gradients(minima).abs().max() < 1e-6
    assert at.values(at.draw_starts(4000, "test", seed=1)).min() >= at.lowest - 1e-12

    def value(point: np.ndarray) -> float:
        return float(at.values(torch.tensor(point)))

    for point in at.minima:
        near = minimize(value, np.array(point) + 0.01, tol=1e-12).fun
        assert near >= at.lowest - 1e-9


@pytest.mark.parametrize("name", ["moons", "sparse"])
def test_the_noise_has_the_mean_of_all_examples_and_is_the_same_for_a_seed(name: str) -> None:
    at = make_problem(name)
    assert at.examples is not None
    point = torch.tensor([[0.4, -0.7]], dtype=torch.float64)
    rows = at.examples.rows.numpy()
    batches = at.examples.batches(4000, seed=5)

    noisy = torch.stack([at.gradients(point, batch)[0] for batch in batches])
    a, b, t = rows.T
    if name == "moons":
        factor = -t / (1 + np.exp(t * (0.4 * a - 0.7 * b)))
    else:
        factor = 0.4 * a - 0.7 * b - t
    exact = np.array([(factor * a).mean(), (factor * b).mean()])
    assert at.gradients(point)[0].numpy() == pytest.approx(exact)
    error = noisy.std(0) / math.sqrt(len(noisy))
    assert ((noisy.mean(0) - torch.tensor(exact)).abs() < 4 * error).all()
    assert torch.equal(batches, at.examples.batches(4000, seed=5))
    assert not torch.equal(batches, at.examples.batches(4000, seed=6))


def test_the_rare_feature_is_rare() -> None:
    examples = make_problem("sparse").examples
    assert examples is not None

    assert (examples.rows[:, 1] != 0).double().mean() == 0.02
    assert (examples.rows[:, 0] != 0).all()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_a_function_of_ones_own_says_where_it_lives(here: Path) -> None:
    (here / "hills.py").write_text(
        "def bowl(x, y):\n"
        "    '''x² + y²'''\n"
        "    return x**2 + y**2\n"
        "bowl.domain = ((-1, 2), (-3, 4))\nbowl.start = (1, 1)\nbowl.minima = [(0, 0)]\n"
    )

    at = make_problem("hills:bowl")

    assert (at.domain, at.start, at.minima) == (((-1, 2), (-3, 4)), (1, 1), ((0, 0),))
    assert at.text == "x² + y²"
    assert at.lowest is None
    assert make_problem("hills:bowl", domain=((4, 6), (2, 3))).start == (5, 2.5)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("f = 3", "'f' cannot be called"),
        ("g = 3", "has no 'f'"),
        ("def f(x, y): return 3.0", r"must return a tensor like x and y.*got <class 'float'>"),
        ("def f(x, y): return (x + y).sum()", r"element by element.*got shape \(\)"),
        ("def f(x, y): return x + oops", r"fails on tensors x and y: NameError.*line 1"),
        ("def f(x, y): return (x - 1).log()", r"is nan at \(.*inside its region.*--domain"),
        ("def f(x, y): return x * 0\nf.domain = 3", "its domain is"),
    ],
)
def test_a_function_that_cannot_be_raced_on_is_told_in_one_line(
    here: Path, code: str, message: str
) -> None:
    module = f"bad{abs(hash(code))}"
    (here / f"{module}.py").write_text(code)

    with pytest.raises(SettingError, match=message) as caught:
        make_problem(f"{module}:f").draw_starts(50, "test", seed=0)
    assert "\n" not in str(caught.value)


def test_a_function_without_gradient_is_told(here: Path) -> None:
    (here / "flat.py").write_text("def f(x, y): return x.detach() ** 2")

    with pytest.raises(SettingError, match="does not depend on x and y by torch operations"):
        make_problem("flat:f").gradients(torch.zeros(1, 2))


def test_an_unknown_function_is_told_with_the_nearest() -> None:
    with pytest.raises(SettingError, match="did you mean 'beale'"):
        make_problem("beele")


@pytest.mark.parametrize("start", [(5.0, 0.0), (0.0, -5.0), (math.nan, 0.0)])
def test_a_start_outside_is_told(start: tuple[float, float]) -> None:
    with pytest.raises(SettingError, match=r"is outside: [xy] of beale goes from -4\.5 to 4\.5"):
        make_problem("beale").check_start(start)
