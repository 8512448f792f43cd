"""What a race varies, and the code that its candidates name."""

from pathlib import Path

import pytest

from ravine.core.allowed_code import NO_CODE, AllowedCode
from ravine.core.errors import CodeRefusedError, SettingError
from ravine.workflows.race import _axes
from ravine.workflows.race_plan import RaceSpec
from ravine.workflows.race_settings import RaceSettings


def test_an_axis_is_read_under_its_new_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert _axes(("adam",), {"bias_rate": ["1", "2"]}) == {
        "optimizer": ["adam"],
        "bias_lr_multiplier": ["1", "2"],
    }
    assert "bias_rate is now called bias_lr_multiplier" in capsys.readouterr().err


def test_code_that_cannot_be_imported_here_ends_a_race_before_its_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    race = RaceSettings.of({"candidates": {"adam": {}, "nadam": {}}, "epochs": 1})
    spec = RaceSpec(race=race, base={"model": "nowhere_to_be_found:net"})

    code = AllowedCode.of("nowhere_to_be_found:net")

    with pytest.raises(SettingError, match="nowhere_to_be_found"):
        spec.check_code(code, source=tmp_path / "race.json")
    with pytest.raises(CodeRefusedError, match="allow-code"):
        spec.check_code(NO_CODE, source=tmp_path / "race.json")
