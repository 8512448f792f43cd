"""Heads of Ray as its documentation starts them: with a token and without."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray")

CONNECT = """
import sys
from ravine.core.errors import SettingError
from ravine.core.ray_cluster import connect
try:
    ray = connect(sys.argv[1])
    print("connected", ray.get(ray.remote(lambda: 6 * 7).remote()))
except SettingError as error:
    print(error)
"""
Connect = Callable[[Path], str]


def _environment(home: Path) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("RAY_AUTH")}
    return {**kept, "HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _token(home: Path) -> None:
    words = [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"]
    subprocess.run(words, env=_environment(home), check=True, capture_output=True)


@pytest.fixture(params=["with a token", "without a token"])
def head(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Connect]]:
    """A running head: the home that it was started in, and what connects from another home."""
    home = tmp_path / "head"
    home.mkdir()
    if request.param == "with a token":
        _token(home)
    address = f"127.0.0.1:{_free_port()}"
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    words += ["--node-ip-address", "127.0.0.1", "--port", address.rpartition(":")[2]]
    words += ["--num-cpus", "1", "--include-dashboard", "false"]
    process = subprocess.Popen(
        words, env=_environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def connect(client: Path) -> str:
        words = [sys.executable, "-c", CONNECT, address]
        done = subprocess.run(words, env=_environment(client), capture_output=True, text=True)
        return done.stdout

    try:
        _await(address)
        yield home, connect
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


def _await(address: str) -> None:
    host, _, port = address.partition(":")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as attempt:
            if attempt.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(address)


def test_a_head_is_reached_with_its_token_and_named_as_the_reason_without(
    head: tuple[Path, Connect], tmp_path: Path
) -> None:
    home, connect = head
    asks = (home / ".ray" / "auth_token").exists()
    stranger = tmp_path / "stranger"
    stranger.mkdir()

    assert "connected 42" in connect(home)
    if asks:
        assert "asks for a token, and there is none" in connect(stranger)
    _token(stranger)  # another one
    assert ("refuses the token" if asks else "connected 42") in connect(stranger)
