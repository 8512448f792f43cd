"""Runs commands in this process: no other one has to import torch for them."""

import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest

from ravine.cli.main import main

Call = Callable[..., tuple[int, str, str]]


def _race(*arguments: object) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["ravine", "race", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0), out.getvalue(), err.getvalue()


@pytest.fixture(scope="session")
def race() -> Call:
    """Runs `ravine race ARGUMENTS` and returns exit code, output and errors.

    The jobs of the race are processes all the same.
    """
    return _race


@pytest.fixture(scope="module", autouse=True)
def _forked_jobs(forked_jobs: None) -> None:
    """Lets the jobs of this room's races be forked."""
