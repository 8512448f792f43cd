"""Why a job of a race failed is the mistake that it named, or what the system did to it."""

import signal

import pytest

from ravine.workflows.race_worker.local_jobs import why_it_ended


@pytest.mark.parametrize(
    ("exit_code", "last_line", "why"),
    [
        (1, "ravine.core.errors.SettingError: not enough memory; --batch 8", "not enough memory; "),
        (1, "ValueError: ravine.core.errors: no", "ValueError: ravine.core.errors: no"),
        (-int(signal.SIGKILL), "", "killed by the system twice: out of memory? take a smaller"),
        (-int(signal.SIGSEGV), "", "its process ended with code -11"),
    ],
)
def test_a_mistake_is_named_without_its_class(exit_code: int, last_line: str, why: str) -> None:
    assert why_it_ended(exit_code, last_line).startswith(why)
