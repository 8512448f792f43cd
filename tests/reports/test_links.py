"""Links inside a run folder are neither followed into a page nor written through."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import RunError
from ravine.reports import render_report
from ravine.reports.hessian_figures import draw_sharpness
from ravine.reports.surface_figures import draw_surfaces
from ravine.runs.links import is_own_file
from ravine.runs.rows import append_row, read_json, read_rows
from ravine.runs.surface import Surface

SECRET = "a-word-of-the-readers"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Returns a folder of the reader's that no page may show."""
    folder = tmp_path / "readers"
    folder.mkdir()
    Image.fromarray(np.full((3, 3), 77, np.uint8)).save(folder / "secret.png")
    (folder / "secret.json").write_text(json.dumps({"networks": [], SECRET: SECRET}))
    row = {"kind": "epoch", "severity": "warning", "code": SECRET, "text": SECRET}
    (folder / "secret.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "secret.toml").write_text(f'note = "{SECRET}"\n')
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    for name in ("mistakes", "landscape"):
        (folder / name).mkdir(parents=True)
    (folder / "recipe.toml").write_text('model = "wrn-10-1"\n')
    Image.fromarray(np.full((2, 2), 5, np.uint8)).save(folder / "landscape" / "own.png")
    Image.fromarray(np.full((2, 2), 6, np.uint8)).save(folder / "mistakes" / "00.png")
    return folder


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def with_mistake(run: Path, image: str) -> None:
    mistake = {"name": "x", "true": "a", "predicted": "b", "probability": 0.9, "image": image}
    evaluation = {
        "accuracy": 0.5, "interval": [0.1, 0.9], "count": 2, "split": "test", "loss": 1.0,
        "classes": ["a", "b"], "confusion": [[1, 0], [1, 0]], "mistakes": [mistake],
    }  # fmt: skip
    (run / "evaluation.json").write_text(json.dumps(evaluation))


def test_pictures_of_the_run_are_shown(run: Path) -> None:
    with_mistake(run, "mistakes/00.png")
    page = render_report(run).read_text()

    assert encoded(run / "landscape" / "own.png") in page
    assert encoded(run / "mistakes" / "00.png") in page


def test_a_picture_of_a_surface_that_is_a_link_is_left_out(run: Path, secret: Path) -> None:
    (run / "landscape" / "x.png").symlink_to(secret / "secret.png")
    page = render_report(run).read_text()

    assert encoded(secret / "secret.png") not in page
    assert encoded(run / "landscape" / "own.png") in page


def test_a_folder_of_pictures_that_is_a_link_is_left_out(run: Path, secret: Path) -> None:
    for name in ("landscape", "mistakes"):
        for path in (run / name).iterdir():
            path.unlink()
        (run / name).rmdir()
        (run / name).symlink_to(secret)
    with_mistake(run, "mistakes/secret.png")

    assert encoded(secret / "secret.png") not in render_report(run).read_text()


@pytest.mark.parametrize("image", ["mistakes/link.png", "../readers/secret.png", "absolute"])
def test_a_mistake_outside_the_folder_is_left_out(run: Path, secret: Path, image: str) -> None:
    (run / "mistakes" / "link.png").symlink_to(secret / "secret.png")
    with_mistake(run, str(secret / "secret.png") if image == "absolute" else image)

    assert encoded(secret / "secret.png") not in render_report(run).read_text()


@pytest.mark.parametrize(
    "name",
    [
        "audit.json",
        "environment.json",
        "evaluation.json",
        "findings.jsonl",
        "history.jsonl",
        "layers.jsonl",
        "recipe.toml",
        "variance.json",
    ],
)
def test_a_file_of_the_run_that_is_a_link_is_not_read(run: Path, secret: Path, name: str) -> None:
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(secret / f"secret{Path(name).suffix}")
    page = render_report(run).read_text()

    assert SECRET not in page
    if name not in ("findings.jsonl", "layers.jsonl", "variance.json"):
        assert f"{name} is a link, which is not followed" in page


def test_a_run_that_is_itself_reached_by_a_link_is_whole(run: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(run)

    assert is_own_file(tmp_path / "latest", tmp_path / "latest" / "landscape" / "own.png")
    assert encoded(run / "landscape" / "own.png") in render_report(tmp_path / "latest").read_text()


def test_a_link_to_itself_is_no_file(run: Path) -> None:
    (run / "landscape" / "x.png").symlink_to(run / "landscape" / "x.png")

    assert not is_own_file(run, run / "landscape" / "x.png")
    assert render_report(run).is_file()


def test_the_report_replaces_a_link_and_does_not_write_through_it(run: Path, secret: Path) -> None:
    before = (secret / "secret.json").read_bytes()
    (run / "report.html").symlink_to(secret / "secret.json")

    assert not render_report(run).is_symlink()
    assert (secret / "secret.json").read_bytes() == before


def test_rows_are_neither_read_nor_written_through_a_link(run: Path, secret: Path) -> None:
    before = (secret / "secret.jsonl").read_bytes()
    (run / "history.jsonl").symlink_to(secret / "secret.jsonl")
    (run / "audit.json").symlink_to(secret / "secret.json")
    for use in (
        lambda: read_rows(run / "history.jsonl"),
        lambda: append_row(run / "history.jsonl", {"step": 1}),
        lambda: read_json(run / "audit.json"),
    ):
        with pytest.raises(RunError, match="is a link, and links in a run folder are not followed"):
            use()
    assert (secret / "secret.jsonl").read_bytes() == before


def test_surfaces_are_not_drawn_through_links(run: Path, secret: Path) -> None:
    x, y = np.linspace(-1, 1, 3), np.linspace(-1, 1, 3)
    loss = 0.1 + x[None, :] ** 2 + y[:, None] ** 2
    about = {
        "along": "random", "kind": "random", "policy": "running", "policy_text": "", "nodes": 9,
        "of_nodes": 9, "centre_loss": 0.1, "centre_error": 0.01, "count": 8, "batch_norm": False,
        "labels": ["one", "two"],
    }  # fmt: skip
    surface = Surface(
        x=x, y=y, loss=loss, standard_error=loss, evaluated=loss > 0, height=loss, about=about,
        sharpness={"convexity": loss, "convexity_x": x, "convexity_y": y},
    )  # fmt: skip
    names = [*(f"plain.{kind}" for kind in ("png", "svg", "html")), "sharp.png", "sharp.svg"]
    before = (secret / "secret.png").read_bytes()
    for name in names:
        (run / "landscape" / name).symlink_to(secret / "secret.png")
    draw_surfaces([surface], run / "landscape" / "plain", title="run")
    draw_sharpness(surface, run / "landscape" / "sharp", title="run")

    assert (secret / "secret.png").read_bytes() == before
    assert not any((run / "landscape" / name).is_symlink() for name in names)
    with Image.open(run / "landscape" / "plain.png") as drawn:
        assert drawn.format == "PNG"
