"""Runs commands in this process: no other one has to import torch for them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO

import pytest

from ravine.cli.main import main
from ravine.workflows.race_worker.fork_client import ForkClient

from .fork_servers import ForkServers

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


@pytest.fixture(scope="session", autouse=True)
def _fork_servers() -> Iterator[None]:
    """Lets the jobs of races be forked from one process that has imported torch."""
    servers = ForkServers()
    with pytest.MonkeyPatch.context() as patch:
        forked = partial(ForkClient, spawn=servers.spawn)
        patch.setattr("ravine.workflows.race_worker.local_jobs.ForkClient", forked)
        yield
    servers.close()
