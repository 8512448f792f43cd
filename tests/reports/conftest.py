"""A live page's server in a thread of this process, and run folders to show."""

import runpy
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from ravine.reports.live.app import make_app
from ravine.workflows.watch import HOST, _listening

ROOT = Path(__file__).parents[2]
make_run: Callable[..., Path] = runpy.run_path(str(ROOT / "bench" / "run_folders.py"))["make_run"]


@contextmanager
def serving(root: Path) -> Iterator[int]:
    """Gives the port of a server of this folder."""
    with _listening(0) as listener:
        config = uvicorn.Config(make_app(root), log_level="error", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        end = time.monotonic() + 120
        while not server.started and time.monotonic() < end:
            time.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with a run that ended, one that was killed, and a name with markup."""
    root = tmp_path_factory.mktemp("live") / "runs"
    make_run(root / "ended", 400, seed=1)
    make_run(root / "killed", 300, seed=2, ended=False)
    make_run(root / "<img src=x onerror=alert(1)>", 50, seed=5)
    return root


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    """Gives the port of a server of `folder`."""
    with serving(folder) as found:
        yield found


@pytest.fixture(scope="module")
def page(port: int) -> Iterator[Any]:
    """Gives an empty page of headless Chromium."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from headless_browser import find_browser, open_browser
    finally:
        sys.path.pop(0)
    if find_browser() is None:
        pytest.skip("chromium is not installed: the live page is not opened")
    with open_browser() as found:
        yield found


__all__ = ["HOST"]
