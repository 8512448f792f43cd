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


@pytest.fixture(scope="session")
def fork_servers() -> Iterator[ForkServers]:
    """Gives the process that has everything imported."""
    servers = ForkServers()
    yield servers
    servers.close()


@pytest.fixture(scope="module", autouse=True)
def _forked_jobs(fork_servers: ForkServers) -> Iterator[None]:
    """Lets the jobs of this room's races be forked; those of other rooms start as users' do."""
    with pytest.MonkeyPatch.context() as patch:
        forked = partial(ForkClient, spawn=fork_servers.spawn)
        patch.setattr("ravine.workflows.race_worker.local_jobs.ForkClient", forked)
        yield
