"""What the report of a run says above its figures."""

from pathlib import Path

import pytest
from PIL import Image

from ravine.reports.contents import gather
from ravine.reports.evaluation_page import evaluation_parts
from ravine.reports.page import page
from ravine.reports.report_summary import summary_lines
from ravine.runs.recipe_file import write_recipe
from ravine.runs.rows import write_json

from .conftest import make_run


def test_the_command_that_goes_on_with_a_killed_run_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/killed"), 30, ended=False)

    assert "<code>ravine resume runs/killed</code>" in page(Path("runs/killed"))


EVALUATION = {
    "split": "validation", "count": 6, "accuracy": 1.0, "interval": [0.6, 1.0], "loss": 0.3,
    "classes": ["cat", "dog"], "confusion": [[3, 0], [0, 3]],
    "calibration": {
        "ece": 0.2, "edges": [0.0, 0.5, 1.0], "accuracy": [None, 1.0],
        "confidence": [None, 0.8], "count": [0, 6],
    },
    "best": {
        "evaluations": 60, "accuracy": 1.0, "images": 6, "epoch": 18.0, "luck": 0.0,
        "is_last": False,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({}, "less confident than accurate."),
        ({"mixup": 0.0, "cutmix": 1.0}, "less confident than accurate, as cutmix makes it."),
        (
            {"label_smoothing": 0.2, "mixup": 0.2},
            "less confident than accurate, as label smoothing and mixup make it.",
        ),
    ],
)
def test_a_lack_of_confidence_is_put_down_to_what_was_on(
    tmp_path: Path, recipe: dict[str, float], said: str
) -> None:
    assert evaluation_parts(tmp_path, EVALUATION, recipe)["calibration_line"].endswith(said)


@pytest.mark.parametrize(("luck", "said"), [(0.0, None), (0.0004, None), (0.124, "Up to 12.4 ")])
def test_luck_that_is_no_number_is_not_said(tmp_path: Path, luck: float, said: str | None) -> None:
    run = make_run(tmp_path / "run", 30)
    contents = gather(run)
    contents.evaluation = {**EVALUATION, "best": {**EVALUATION["best"], "luck": luck}}  # type: ignore[dict-item]

    line = next(one for one in summary_lines(contents) if "evaluations" in one)
    assert ("luck" in line) == (said is not None)
    assert said is None or said in line


def test_a_recipe_is_shown_in_words_with_units(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 30)
    plan = {"total_steps": 5, "corrections": [{"step": 1, "total_steps": 7}]}
    write_recipe(run / "recipe.toml", {"model": "wrn-10-1", "budget": 20.0}, plan)

    shown = page(run)
    assert "<dd>20s</dd>" in shown
    assert "<dd>7 steps, said after step 1</dd>" in shown
    assert "{&#39;" not in shown


def test_pictures_that_are_nearly_equal_are_not_called_equal(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 30)
    write_json(
        run / "audit.json",
        {
            "count": 9, "classes": [],
            "leakage": {"action": "none found", "examples": []},
            "near_duplicates": {
                "pairs": 1, "compared": 9, "different_labels": 0, "across_the_split": 1,
                "examples": [["a.png", "b.png"]],
            },
        },
    )  # fmt: skip
    (run / "pictures").mkdir()
    for name in ("0.png", "1.png"):
        Image.new("L", (4, 4)).save(run / "pictures" / name)
    pair = {"names": ["a.png", "b.png"], "labels": ["cat", "cat"], "images": ["0.png", "1.png"]}
    write_json(
        run / "pictures/index.json", {"training": [], "pairs": [{"kind": "nearly equal", **pair}]}
    )

    shown = page(run)
    assert "Images that are nearly equal, as of one saved again:" in shown
    assert "Images with the same pixels" not in shown
    assert "<small>a.png ≈ b.png</small>" in shown
    assert "1 pair among 9 images, 0 under different labels, 1 across the split" in shown
    assert "same pixels: none found<div>nearly equal: 1 pair, left as it is" in shown
