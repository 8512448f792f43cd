"""Roughness of functions whose curvature is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine.runs.roughness import least_curvature, roughness_of
from ravine.runs.surface import Surface

entry = st.floats(-3, 3).map(lambda v: round(v, 3))


@given(entry, entry, entry)
def test_the_least_curvature_of_a_quadratic_is_its_least_eigenvalue(
    xx: float, xy: float, yy: float
) -> None:
    x, y = np.linspace(-1, 2, 7), np.linspace(-0.5, 0.5, 12)
    a, b = np.meshgrid(x, y)
    loss = 20 + xx * a**2 / 2 + xy * a * b + yy * b**2 / 2 + a - 2 * b
    least, rounding = least_curvature(x, y, loss, rounding=1e-14)

    expected = np.linalg.eigvalsh(np.array([[xx, xy], [xy, yy]]))[0]
    assert least.shape == rounding.shape == (10, 5)
    assert (np.abs(least - expected) <= rounding).all()


@given(st.floats(0.1, 0.9))
def test_the_share_is_that_of_the_area(width: float) -> None:
    """f = x⁴/12 − w²x²/2 + y² has f_xx = x² − w²: not convex where |x| < w."""
    x, y = np.linspace(-1, 1, 401), np.linspace(-1, 1, 9)
    loss = 1 + x**4 / 12 - width**2 * x**2 / 2 + y[:, None] ** 2
    share = roughness_of(x, y, loss, precision="float64")["non_convex"]
    line = roughness_of(x, np.zeros(1), loss[:1], precision="float64")["non_convex"]

    assert share == pytest.approx(width, abs=0.006)
    assert line == share


def test_the_range_is_within_radius_1() -> None:
    x, y = np.linspace(-1.5, 1.5, 31), np.linspace(-2, 2, 41)
    distance = np.hypot(*np.meshgrid(x, y))

    found = roughness_of(x, y, 0.2 * 10 ** (3 * distance))
    assert found["log_range"] == pytest.approx(3)
    assert found["non_convex"] == 0


def test_rounding_is_not_taken_for_roughness() -> None:
    rng = np.random.default_rng(0)
    x, noise = np.linspace(-1, 1, 21), 1e-7 * rng.normal(size=(21, 21)).clip(-2, 2)
    found = {p: roughness_of(x, x, 1 + noise, precision=p) for p in ("float32", "float64")}

    assert found["float32"]["non_convex"] == 0
    assert found["float64"]["non_convex"] > 0.5


def test_holes_and_too_few_nodes_tell_nothing() -> None:
    x = np.linspace(-1, 1, 9)
    loss = 1 - x[:, None] ** 2 + np.where(x > 0, 0.0, np.nan)
    assert roughness_of(x, x, loss, precision="float64")["non_convex"] == 1
    assert np.isnan(roughness_of(x, x, np.full((9, 9), np.nan))["non_convex"])
    assert np.isnan(roughness_of(x, x, np.full((9, 9), np.nan))["log_range"])
    assert np.isnan(roughness_of(x[:2], x[:2], np.ones((2, 2)))["non_convex"])


@pytest.mark.parametrize(("along", "known"), [("random", True), ("trajectory", False)])
def test_the_figures_are_saved_with_the_surface(tmp_path: Path, along: str, known: bool) -> None:
    x = np.linspace(-1, 1, 9)
    loss = np.exp(np.add.outer(x**2, 2 * x**2))
    whole = np.ones(loss.shape, bool)
    about = {"along": along, "precision": "float32", "centre_loss": 1.0}
    surface = Surface(
        x=x, y=x, loss=loss, standard_error=loss, evaluated=whole, height=loss, about=about
    )

    with np.load(surface.save(tmp_path / "s.npz")) as file:
        saved = json.loads(str(file["about"]))["roughness"]
    assert saved["non_convex"] == 0
    assert (saved["log_range"] == pytest.approx(2 * np.log10(np.e))) is known
    assert saved["log_range"] is not None or not known


def test_the_centre_may_be_the_minimum_though_it_is_no_node() -> None:
    x, y = np.linspace(-1, 2, 5), np.linspace(-1, 1, 4)
    loss = 1 + np.add.outer(y**2, x**2)

    def lowest(x: np.ndarray, centre: float) -> tuple[float, float, float]:
        whole = np.ones(loss.shape, bool)
        about = {"centre_loss": centre}
        return Surface(
            x=x, y=y, loss=loss, standard_error=loss, evaluated=whole, height=loss, about=about
        ).minimum

    assert lowest(x, 0.9) == (0, 0, 0.9)
    assert lowest(x, 1.3) == (-0.25, pytest.approx(-1 / 3), loss.min())
    assert lowest(x + 4, 0.9)[2] == loss.min()
