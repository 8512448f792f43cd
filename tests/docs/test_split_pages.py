"""What the pages on splits and on a look at the data show is what the command prints."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.cli.main import main

PAGES = Path(__file__).parents[2] / "docs" / "data"


def block(page: str, command: str) -> list[str]:
    """Returns the lines that a page shows below a command."""
    lines = (PAGES / page).read_text().splitlines()
    start = lines.index(f"    $ {command}") + 1
    shown = lines[start : start + 20]
    end = next((n for n, line in enumerate(shown) if not line.startswith("    ")), len(shown))
    return [line[4:] for line in shown[:end]]


def draw(folder: Path, names: list[str]) -> None:
    rng = np.random.default_rng([*str(folder.name).encode()])  # no two folders are equal
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / name)


@pytest.mark.parametrize(
    ("page", "command"),
    [
        ("splits-and-groups.md", "ravine data signs --group-from-name _ --no-sheet"),
        ("look-at-data.md", "ravine data photos/"),
    ],
)
def test_the_command_prints_what_the_page_shows(
    page: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tracks = [f"{track:05d}_{n:05d}.png" for track in range(3) for n in range(20)]
    draw(tmp_path / "signs" / "stop", tracks)
    draw(tmp_path / "signs" / "yield", tracks)
    draw(tmp_path / "signs" / "rare", ["00001_00000.png"])
    for name in ("across", "along"):
        draw(tmp_path / "photos" / name, [f"{n}.png" for n in range(40)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    printed = capsys.readouterr().out.splitlines()
    without = ("images become", "warning: class 'stop' has 40.0 times")
    assert [line for line in printed if not line.startswith(without)] == block(page, command)
    assert len(printed) > len(block(page, command))
