"""A Ray cluster, by its address. Loads Ray on first use.

Race jobs and nodes of a loss surface both run on one.
"""

import socket
from importlib import import_module
from typing import Any

from ravine.core.captured import captured_stderr
from ravine.core.errors import SettingError
from ravine.core.ray_token import reason_of_refusal, send_token_that_is_there

_TIMEOUT = 5.0  # seconds for a TCP connection
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
    """Raises `SettingError` within 5 s unless something listens at a host and port.

    Ray itself would retry for a minute. `auto` and `local` are left to Ray.

    Raises:
        SettingError: the address has no port, or nothing listens there.
    """
    if address in _BY_NAME:
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise SettingError(f"ray {address!r} is no address; write HOST:PORT, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=_TIMEOUT).close()
    except OSError as error:
        raise _no_answer(address, error.strerror or str(error)) from None


def _no_answer(address: str, reason: str) -> SettingError:
    return SettingError(
        f"no Ray cluster answers at {address} ({reason}); start one: ray start --head"
    )
