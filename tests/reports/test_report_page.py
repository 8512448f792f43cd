"""What the report of a run says above its figures."""

from pathlib import Path

import pytest

from ravine.reports.page import page

from .conftest import make_run


def test_the_command_that_goes_on_with_a_killed_run_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/killed"), 30, ended=False)

    assert "<code>ravine resume runs/killed</code>" in page(Path("runs/killed"))
