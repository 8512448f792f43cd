"""`ravine watch`: the live page's server on this machine; `ravine train --watch` has one too.

The server is a process of its own, since a page that is drawn shall not slow a training down.
"""

import contextlib
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ravine.core.errors import SettingError
from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    import uvicorn

    from ravine.reports.live import app
else:
    uvicorn = lazy_module("uvicorn")
    app = lazy_module("ravine.reports.live.app")

HOST: Final = "127.0.0.1"
PORT: Final = 8917
_TRIES: Final = 20  # ports after the first one
_START: Final = 30.0  # seconds for a server to start


def refuse_without_server() -> None:
    """Raises `SettingError` where the packages of the server are not installed."""
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise SettingError(
                f"the live page needs {name}: pip install 'ravine[watch]'; without it: "
                "ravine watch --terminal"
            )


def serve(root: Path, *, port: int | None, ready: Callable[[str], None]) -> None:
    """Serves the runs in a folder until Ctrl-C.

    Args:
        root: the folder of runs, which need not be there yet.
        port: of this machine; None for 8917 or the next free one.
        ready: is called with the page's address.

    Raises:
        SettingError: the port is taken, or a package is missing.
    """
    refuse_without_server()
    with _listening(port) as listener:
        found = listener.getsockname()[1]
        config = uvicorn.Config(
            app.make_app(root),
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        ready(f"http://{HOST}:{found}/")
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _listening(port: int | None) -> Iterator[socket.socket]:
    """Gives a socket that listens on this machine alone."""
    ports = [port] if port is not None else [*range(PORT, PORT + _TRIES), 0]
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for one in ports:
            try:
                listener.bind((HOST, one))
            except (OSError, OverflowError) as error:
                why = getattr(error, "strerror", None) or str(error)
                refused = SettingError(f"port {one} cannot be used: {why}; another: --port 0")
                continue
            listener.listen(64)
            yield listener
            return
    raise refused


def open_page(url: str) -> None:
    """Opens a page in the user's browser, where there is one."""
    with contextlib.suppress(webbrowser.Error):
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


@contextmanager
def page_of(root: Path, *, ready: Callable[[str], None]) -> Iterator[None]:
    """Serves a folder of runs by a process of its own while the block runs.

    Args:
        root: the folder, which need not be there yet.
        ready: is called with the page's address.

    Raises:
        SettingError: a package is missing, or the server does not start.
    """
    refuse_without_server()
    root.mkdir(parents=True, exist_ok=True)
    with _listening(None) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "ravine", "watch", str(root), "--port", str(port), "--no-open"]
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://{HOST}:{port}/"

    def say_when_ready() -> None:
        if _answers(url, server):
            ready(url)

    waiting = threading.Thread(target=say_when_ready, daemon=True)
    waiting.start()
    try:
        yield
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(5)


def _answers(url: str, server: "subprocess.Popen[bytes]") -> bool:
    """Waits until a server answers; False where it has ended, or takes too long."""
    waited = threading.Event()
    for _ in range(int(_START / 0.1)):
        if server.poll() is not None:
            return False
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url):
            return True
        waited.wait(0.1)
    return False
