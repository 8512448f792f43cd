"""Runs commands in this process, and keeps a trained run for all tests of the session."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.cli.main import main


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def ravine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `ravine ARGUMENTS`."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["ravine", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return Said(code=code, out=said.out, err=said.err)

    return run


def paint(folder: Path, per_class: int, seed: int = 0) -> Path:
    """Returns a class-per-folder tree of stripes across and along, and a strange name."""
    chance = np.random.default_rng(seed)
    for place, name in enumerate(("across", "along “ü”")):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = chance.integers(0, 80, (8, 8, 3), dtype=np.uint8)
            pixels[(slice(None, None, 2), slice(None))[:: 1 - 2 * place]] += 150
            Image.fromarray(pixels).save(folder / name / f"{name} {number}.png")
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a finished run on striped pictures, made by the command line."""
    place = tmp_path_factory.mktemp("trained")
    data = paint(place / "data", 60)
    patch = pytest.MonkeyPatch()
    patch.setenv("RAVINE_CACHE", str(place / "cache"))
    options = ["--model", "wrn-10-1", "--epochs", "4", "--batch", "16", "--quiet"]
    patch.setattr(
        sys, "argv", ["ravine", "train", str(data), "--out", str(place / "run"), *options]
    )
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    patch.undo()
    return place / "run"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path_factory.mktemp("cache")))
