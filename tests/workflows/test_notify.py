"""`notify`: a command that is called with what happened, and never stops a run."""

import sys
from pathlib import Path

import pytest

from ravine.core.errors import RunError, SettingError
from ravine.core.events import Event, Notice, TrainingStarted
from ravine.workflows.notify import command_of, notifying

WRITE = (
    "import os, sys; open(sys.argv[1], 'a').write(os.environ['RAVINE_EVENT'] + '|' + sys.argv[2])"
)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits longer than a busy machine takes to start a command."""
    monkeypatch.setattr("ravine.workflows.notify._WAIT", 120.0)


def calling(path: Path) -> list[str]:
    return [sys.executable, "-c", WRITE, str(path)]


def test_the_command_gets_what_happened_as_one_argument(tmp_path: Path) -> None:
    path = tmp_path / "a b"
    with notifying(calling(path), []) as notifier:
        notifier.notify("ended", "90 % ; rm -rf $HOME")

    assert path.read_text() == "ended|90 % ; rm -rf $HOME"


def test_a_critical_finding_calls_it_and_a_warning_does_not(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with notifying(calling(path), []) as notifier:
        for severity in ("warning", "critical", "critical"):  # the end finds it again
            finding = {"severity": severity, "code": "diverged"}
            notifier(Notice(text=severity, details={"finding": finding}))
        notifier(Notice(text="no finding", warning=True))

    assert path.read_text() == "critical|critical"


def test_a_run_that_fails_calls_it_and_still_fails(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(RunError, match="the disk is full"), notifying(calling(path), []):
        raise RunError("the disk is full")

    assert path.read_text() == "failed|ravine: the disk is full"


def test_a_command_that_fails_is_a_line(tmp_path: Path) -> None:
    heard: list[Event] = []
    with notifying([sys.executable, "-c", "raise SystemExit(3)"], [heard.append]) as notifier:
        notifier(TrainingStarted(
            step=0, total_steps=1, steps_per_epoch=1, batch=1, model="m", run="r"
        ))  # fmt: skip
        notifier.notify("ended", "done")

    (notice,) = heard
    assert isinstance(notice, Notice)
    assert notice.text.endswith("it ended with exit code 3")


def test_a_command_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ravine.workflows.notify._WAIT", 0.2)
    with notifying([sys.executable, "-c", "import time; time.sleep(300)"], []) as notifier:
        notifier.notify("ended", "done")
    hanging = notifier._running[0]
    assert hanging.poll() is None
    hanging.kill()
    hanging.wait()


def test_a_program_that_is_not_there_is_refused_before_the_run() -> None:
    with pytest.raises(SettingError, match="there is no program 'no-such-program'"):
        command_of("no-such-program --loud")
    with pytest.raises(SettingError, match="is no command: No closing quotation"):
        command_of("echo 'open")
