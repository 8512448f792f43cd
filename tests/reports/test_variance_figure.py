"""The figure of variances, layer by layer."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ravine.reports.variance_figure import _widen, draw_variance, variance_drawing


def test_an_axis_of_activations_that_vanish_stays_as_it_is_without_a_warning() -> None:
    axes = Figure().subplots()
    axes.set_yscale("log")
    axes.set_ylim(np.float64(1e-310), np.float64(10.0))
    before = axes.get_ylim()

    _widen([axes])

    assert axes.get_ylim() == before


def test_an_axis_is_at_least_three_powers_of_ten_wide() -> None:
    axes = Figure().subplots()
    axes.set_yscale("log")
    axes.set_ylim(0.5, 2.0)

    _widen([axes])

    low, high = axes.get_ylim()
    assert high / low > 999


def _network(name: str, factor: float, layers: int = 12):
    """Variances that change by a factor from layer to layer, forward and backward."""
    rows = [
        {
            "layer": str(n),
            "forward": factor**n,
            "forward_predicted": factor**n,
            "forward_band": 2.0,
            "backward": factor ** (layers - n),
            "backward_predicted": None if n == layers - 1 else factor ** (layers - n),
            "backward_band": None if n == layers - 1 else 2.0,
        }
        for n in range(layers)
    ]
    factors = {"measured": factor, "predicted": factor}
    return {"name": name, "layers": rows, "factors": {"forward": factors, "backward": factors}}


@pytest.mark.parametrize("networks", [1, 2, 3])
def test_the_legend_is_whole(tmp_path, networks):
    draw_variance([_network("a network", 1.1)] * networks, [tmp_path / "v.png"])
    with Image.open(tmp_path / "v.png") as image:
        legend = np.asarray(image.convert("L"))[-image.height // 10 :]
    assert (legend < 128).any()  # there is one
    assert (legend[:, [0, 1, -2, -1]] > 250).all()  # nothing of it touches an edge


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.1, "kept"), (4.0, "explodes"), (0.2, "vanishes")]
)
def test_each_panel_says_whether_the_variance_is_kept(factor, verdict):
    svg = variance_drawing([_network("a network", factor)])
    assert svg.count(f": {verdict}") == 2


def test_powers_are_letters_and_no_formulas(tmp_path) -> None:  # type: ignore[no-untyped-def]
    draw_variance([_network("a network", 0.5)], [tmp_path / "variance.svg"])

    text = (tmp_path / "variance.svg").read_text()
    assert "10⁻" in text
    assert "mathdefault" not in text
