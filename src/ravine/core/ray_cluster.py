"""A Ray cluster, by its address. Loads Ray on first use."""

import socket
from importlib import import_module
from typing import Any

from ravine.core.errors import SettingError

_ANSWERS_WITHIN = 5.0


def connect(address: str) -> Any:
    """Returns the module `ray`, connected to the cluster at `address` (HOST:PORT or auto).

    Raises:
        SettingError: Ray is not installed, or nothing answers there.
    """
    try:
        ray = import_module("ray")
    except ImportError:
        raise SettingError(
            "--ray needs Ray, which is not installed: pip install 'ravine[ray]'"
        ) from None
    if address not in ("auto", "local"):
        _knock(address)
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (ConnectionError, RuntimeError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise SettingError(
                f"no Ray cluster answers at {address} ({first}); start one: ray start --head"
            ) from None
    return ray


def _knock(address: str) -> None:
    """Raises `SettingError` at once unless something answers at a host and port."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise SettingError(f"ray {address!r} is no address; write HOST:PORT, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWERS_WITHIN).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise SettingError(
            f"no Ray cluster answers at {address} ({why}); start one: ray start --head"
        ) from None
