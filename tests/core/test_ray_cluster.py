"""The address of a Ray cluster is checked before Ray is asked."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from ravine.core import ray_cluster
from ravine.core.errors import SettingError
from ravine.core.ray_cluster import check_reachable, connect

HEAD = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # the settings of HTTP/2, with which gRPC begins


@contextlib.contextmanager
def server(answer: bytes | None) -> Iterator[str]:
    """A server that accepts, and answers so; None keeps silent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        kept = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    kept.append(connection)
                    if answer is not None:
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in kept:
            connection.close()


def test_a_head_is_reachable_and_a_port_where_nothing_listens_is_named() -> None:
    with server(HEAD) as address:
        check_reachable(address)
        check_reachable(f"ray://{address}")
    with pytest.raises(SettingError, match=rf"answers at {address} \(.*ray start --head"):
        check_reachable(address)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"SSH-2.0-x\r\n", b"x", b""])
def test_what_is_no_head_of_ray_is_named(answer: bytes) -> None:
    with (
        server(answer) as address,
        pytest.raises(SettingError, match=r"\(what listens there is no head of Ray\)"),
    ):
        check_reachable(address)


def test_a_server_that_accepts_and_is_silent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "_TIMEOUT", 0.2)
    with server(None) as address, pytest.raises(SettingError, match=r"\(no word within 0.2 s\)"):
        check_reachable(address)


def test_a_head_with_tls_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with server(b"x") as address:
        check_reachable(address)


@pytest.mark.parametrize(
    "address", ["somewhere", "host:", "host:port", "10.0.0.1", "127.0.0.1:99999"]
)
def test_an_address_without_a_port_is_refused(address: str) -> None:
    with pytest.raises(SettingError, match=f"ray '{address}' is no address; write HOST:PORT"):
        check_reachable(address)


def test_auto_is_left_to_ray() -> None:
    check_reachable("auto")


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_package_to_install_is_named() -> None:
    with pytest.raises(SettingError, match=r"pip install 'ravine\[ray\]'"):
        connect("auto")
