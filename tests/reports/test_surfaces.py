"""Pictures of surfaces: notes name what is left out, and the page opens offline."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.reports.run_pictures import surface_pictures
from ravine.reports.surface_drawing import surface_drawings
from ravine.reports.surface_figures import draw_surfaces
from ravine.reports.surface_notes import notes
from ravine.reports.surface_page import surface_page
from ravine.runs.surface import Surface


def surface(*, hole: bool = False, line: bool = False) -> Surface:
    x, y = np.linspace(-1, 1, 21), np.zeros(1) if line else np.linspace(-1, 1, 11)
    loss = 0.1 + x[None, :] ** 2 + 2 * y[:, None] ** 2
    if hole:
        loss[0, :3] = np.nan
    return Surface(
        x=x,
        y=y,
        loss=loss,
        standard_error=0.05 * loss,
        evaluated=np.ones(loss.shape, bool),
        height=loss,
        about={
            "along": "trajectory",
            "kind": "principal components",
            "policy": "batch",
            "policy_text": "statistics of each batch",
            "batch_norm": True,
            "labels": ["one", "two"],
            "nodes": 100,
            "of_nodes": loss.size,
            "centre_loss": 0.1,
            "centre_error": 0.005,
            "count": 300,
            "explained": [0.5, 0.25],
        },
        trajectory={
            "x": np.array([0.5, 0.0]),
            "y": np.array([0.5, 0.0]),
            "loss": np.array([2.0, 0.1]),
            "plane_loss": np.array([0.85, 0.1]),
            "off_plane": np.array([0.37, 0.0]),
            "epoch": np.array([0.0, 3.0]),
        },
    )


def test_notes_name_what_is_left_out() -> None:
    text = "\n".join(notes(surface(hole=True)))

    for part in (
        "statistics of each batch",
        "75.0 % of the trajectory's squared length",
        "up to 37 % off",
        "100 of 231 nodes computed, the rest interpolated",
        "± 0.005 (standard error, 300 values)",
        "3 nodes are holes",
    ):
        assert part in text


@pytest.mark.slow
@pytest.mark.parametrize("hole", [False, True])
def test_pictures_are_drawn(tmp_path: Path, hole: bool) -> None:
    paths = draw_surfaces([surface(hole=hole), surface()], tmp_path / "s", title="a run")

    assert [path.suffix for path in paths] == [".png", ".svg", ".html"]
    pixels = np.asarray(Image.open(paths[0]).convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500


def test_of_several_policies_each_has_its_own_figures(tmp_path: Path) -> None:
    other = replace(
        surface(), about={**surface().about, "policy_text": "frozen", "centre_loss": 0.2}
    )
    drawn = draw_surfaces([surface(), other], tmp_path / "s", title="a run")[1].read_text()

    for part in (
        "statistics of each batch: loss at the centre 0.1 ± 0.005",
        "frozen: loss at the centre 0.2 ± 0.005",
        "not convex on 0.0 % of the plane",
    ):
        assert part in drawn


def test_a_hole_is_not_painted(tmp_path: Path) -> None:
    whole, holed = (
        draw_surfaces([surface(hole=hole)], tmp_path / str(hole), title="t")[0]
        for hole in (False, True)
    )
    a, b = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in (whole, holed))
    height = min(len(a), len(b)) // 2

    def purple_to_yellow(pixels: np.ndarray) -> int:
        return int((np.ptp(pixels, axis=2) > 40).sum())

    assert purple_to_yellow(b[height:]) < purple_to_yellow(a[height:])


def test_a_profile_has_no_page(tmp_path: Path) -> None:
    paths = draw_surfaces([surface(line=True)], tmp_path / "s", title="a run")

    assert [path.suffix for path in paths] == [".png", ".svg"]


def test_the_page_holds_its_numbers_and_asks_the_network_for_nothing() -> None:
    page = surface_page([surface(hole=True)], title="</script><b>x")
    (text,) = re.findall(r"const data = (.*);\n", page)
    (shown,) = json.loads(text)["surfaces"]

    assert "http" not in page
    assert shown["z"][0][:3] == [None] * 3
    assert shown["z"][5][10] == pytest.approx(-1)
    assert shown["points"][0]["off_plane"] == pytest.approx(0.37)
    assert shown["name"] == ""
    assert page.count("</script>") == 1


def test_a_trajectory_without_true_losses_lies_on_the_plane() -> None:
    path = {**surface().trajectory, "loss": np.full(2, np.nan), "plane_loss": np.full(2, np.nan)}
    page = surface_page([replace(surface(), trajectory=path)], title="a run")
    (text,) = re.findall(r"const data = (.*);\n", page)
    start, end = json.loads(text)["surfaces"][0]["points"]

    assert (start["loss"], end["loss"]) == (None, None)
    assert start["plane_loss"] == pytest.approx(0.1 + 0.25 + 0.5, abs=0.05)  # between nodes
    assert end["plane_loss"] == pytest.approx(0.1)


def test_a_page_of_several_policies_names_each_and_has_one_scale() -> None:
    below = surface()
    below.height[5, 10] = -0.1
    other = replace(surface(), about={**surface().about, "policy": "running"})
    (text,) = re.findall(r"const data = (.*);\n", surface_page([below, other], title="t"))
    data = json.loads(text)

    assert data["log"] is False
    assert [s["name"] for s in data["surfaces"]] == ["batch norm: batch", "batch norm: running"]
    assert data["surfaces"][1]["z"][5][10] == pytest.approx(0.1)
    assert data["surfaces"][1]["notes"] == notes(other)


def test_a_picture_whose_numbers_the_page_draws_is_not_held_twice(tmp_path: Path) -> None:
    folder = tmp_path / "landscape"
    folder.mkdir()
    surface().save(folder / "pca-running-0.npz")
    for name in ("pca-running-0", "pca-running-0-sharpness"):
        Image.new("RGB", (2, 2)).save(folder / f"{name}.png")

    assert [name for name, _ in surface_pictures(tmp_path)] == ["pca-running-0-sharpness"]
    assert len(surface_drawings(tmp_path)) == 1
