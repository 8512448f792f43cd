"""What data was taken for is a line for people, and a row in full for programs."""

import json

import pytest

from ravine.core.events import Notice
from ravine.data.understanding import Understood
from ravine.workflows.json_stream import JsonLines
from ravine.workflows.screens import PlainLines


def test_a_line_is_shortened_for_people_and_whole_for_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Understood("folders", "folders, 2", left_out=tuple(f"{n} .x{n}" for n in range(99)))
    notice = Notice(text=found.line(), details={"understood": found.to_json()})

    PlainLines().observe(notice)
    JsonLines().observe(notice)
    line, row = capsys.readouterr().out.splitlines()

    assert len(line) == 200
    assert line.endswith("…")
    assert len(json.loads(row)["understood"]["left_out"]) == 99
    assert json.loads(row)["kind"] == "notice"
