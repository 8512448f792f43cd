"""`ravine data`: what is understood, at once; the audit; the contact sheet."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Command, paint

from ravine.data.contact_sheet import choose_examples, draw_sheet


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return paint(tmp_path / "photos", 12)


def test_the_first_row_counts_and_the_second_audits(
    ravine: Command, photos: Path, tmp_path: Path
) -> None:
    across = photos / "across"
    shutil.copy(across / "across 0.png", across / "twin.png")
    shutil.copy(across / "across 1.png", photos / "along “ü”" / "contrary.png")
    (across / "torn.png").write_bytes(b"")
    sheet = tmp_path / "sheet.png"
    said = ravine("data", photos, "--json", "--sheet", sheet, "--validation", "0.25")
    assert said.code == 0, said.err
    found, audit = (json.loads(line) for line in said.out.splitlines())
    assert (found["kind"], audit["kind"]) == ("found", "audit")
    assert found["classes"] == [
        {"name": "across", "images": 14},
        {"name": "along “ü”", "images": 13},
    ]
    assert audit["count"] == 26
    assert audit["splits"]["train"] + audit["splits"]["validation"] == 26
    assert [row["reason"] for row in audit["unreadable"]] == ["the file is empty"]
    assert audit["duplicates"]["groups"] == 2
    assert audit["conflicts"][0]["labels"] == ["across", "along “ü”"]
    assert audit["sheet"] == str(sheet)
    with Image.open(sheet) as picture:
        assert (picture.format, picture.width > 96) == ("PNG", True)


def test_lines_say_what_is_wrong_and_no_class_is_lost(ravine: Command, photos: Path) -> None:
    shutil.copy(photos / "across/across 1.png", photos / "along “ü”" / "contrary.png")
    said = ravine("data", photos, "--no-sheet")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("read as folders")
    assert lines[1] == "25 images, 2 classes"
    assert lines[2].split() == ["across", "12"]
    assert any(line.startswith("warning: 1 image stands under different labels") for line in lines)
    assert len(lines) == len(set(lines))
    assert not list(photos.parent.glob("*.png"))


def test_groups_are_counted_and_a_mistake_is_one_line(ravine: Command, photos: Path) -> None:
    said = ravine("data", photos, "--no-sheet", "--group-from-name", r"(\d)\.png$")
    assert "10 groups, each kept on one side of the split" in said.out
    wrong = ravine("data", photos, "--group-from-name", "(")
    assert wrong.code == 2
    assert "nothing is found in 24 of 24 file names" in wrong.err
    assert len(wrong.err.splitlines()) == 1
    assert ravine("data", photos / "none").code == 2


def test_the_command_starts_without_torch(photos: Path) -> None:
    code = (
        "import sys; from ravine.cli.main import main\n"
        f"sys.argv = ['ravine', 'data', {str(photos)!r}, '--no-sheet', '--no-cache']\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


def test_a_tile_of_the_sheet_is_the_image_as_the_network_sees_it() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(12)]
    sheet = np.asarray(draw_sheet(pictures, ["a" * 300, *["b"] * 11]))
    tile = sheet[6 : 6 + 96, 6 : 6 + 96]
    assert np.array_equal(tile[::3, ::3], pictures[0])
    second_row = 6 + 96 + 14 + 12
    tile = sheet[second_row : second_row + 96, 6 + 102 : 6 + 102 + 96]
    assert np.array_equal(tile[1::3, 2::3], pictures[11])


def test_examples_are_spread_over_many_classes_and_within_each() -> None:
    labels = np.repeat(np.arange(2000), 5)
    chosen = choose_examples(labels, np.arange(10_000), most=60)
    assert len(chosen) == 60
    assert labels[chosen[0]] == 0
    assert labels[chosen[-1]] == 1999
    few = choose_examples(np.repeat([0, 1], 100), np.arange(0, 200, 2), most=20)
    assert np.bincount(np.repeat([0, 1], 100)[few]).tolist() == [10, 10]
    assert set(few) <= set(range(0, 200, 2))
