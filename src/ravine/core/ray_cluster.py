"""A Ray cluster, by its address. Loads Ray on first use.

Race jobs and nodes of a loss surface both run on one.
"""

import os
import socket
import time
from importlib import import_module
from typing import Any

from ravine.core.captured import captured_stderr
from ravine.core.errors import SettingError
from ravine.core.ray_token import reason_of_refusal, send_token_that_is_there

_TIMEOUT = 4.0  # seconds for a TCP connection, and for the first word on it
# How each end of HTTP/2, and so of gRPC, begins: RFC 9113, 3.4 and 6.5. A frame's fourth byte is
# its type, 4 for settings.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS_FRAME = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_BY_NAME = ("auto", "local")  # addresses that Ray resolves itself


def connect(address: str) -> Any:
    """Returns the module `ray`, connected to the cluster at `address`.

    A token that lies where Ray keeps it is sent.

    Args:
        address: HOST:PORT, ray://HOST:PORT, or auto.

    Raises:
        SettingError: Ray is not installed, no cluster answers there, or it asks for another token.
    """
    check_reachable(address)
    send_token_that_is_there()
    try:
        ray = import_module("ray")
    except ImportError:
        raise SettingError(
            "--ray needs Ray, which is not installed: pip install 'ravine[ray]'"
        ) from None
    if not ray.is_initialized():
        _join(ray, address)
    return ray


def _join(ray: Any, address: str) -> None:
    with captured_stderr() as printed:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
            return
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            first = str(error).strip().partition("\n")[0]
            words = f"{first}\n{printed()}"
    refused = reason_of_refusal(words)
    if refused:
        raise SettingError(f"the Ray cluster at {address} {refused}")
    raise _no_answer(address, first)


def check_reachable(address: str) -> None:
    """Raises `SettingError` within 10 s unless a head may be listening at a host and port.

    Ray itself would retry for a minute, and wait without end for one that accepts and is silent.
    `auto` and `local` are left to Ray, and so is what a head with TLS answers.

    Raises:
        SettingError: the address has no port, nothing listens there, or it is no head of Ray.
    """
    if address in _BY_NAME:
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not (port.isdecimal() and 0 < int(port[:6]) < 2**16):
        raise SettingError(f"ray {address!r} is no address; write HOST:PORT, or auto")
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT) as connection:
            answer = b"" if _with_tls() else _first_answer(connection)
    except TimeoutError:
        raise _no_answer(address, f"no word within {_TIMEOUT:g} s") from None
    except OSError as error:
        raise _no_answer(address, error.strerror or str(error)) from None
    if not _with_tls() and answer[3:4] != _SETTINGS_FRAME[3:4]:
        raise _no_answer(address, "what listens there is no head of Ray")


def _with_tls() -> bool:
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _first_answer(connection: socket.socket) -> bytes:
    """Returns the first bytes of a server that is spoken to as gRPC begins, in HTTP/2."""
    deadline = time.monotonic() + _TIMEOUT
    connection.sendall(_PREFACE + _SETTINGS_FRAME)
    answer = b""
    while len(answer) < len(_SETTINGS_FRAME):
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        received = connection.recv(len(_SETTINGS_FRAME))
        if not received:
            break
        answer += received
    return answer


def _no_answer(address: str, reason: str) -> SettingError:
    return SettingError(
        f"no Ray cluster answers at {address} ({reason}); start one: ray start --head"
    )
