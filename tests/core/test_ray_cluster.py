"""The address of a Ray cluster is checked before Ray is asked."""

import socket
from importlib.util import find_spec

import pytest

from ravine.core.errors import SettingError
from ravine.core.ray_cluster import check_reachable, connect


def test_a_port_that_listens_is_reachable_and_one_that_does_not_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_reachable(address)
        check_reachable(f"ray://{address}")
    with pytest.raises(SettingError, match=rf"answers at {address} \(.*ray start --head"):
        check_reachable(address)


@pytest.mark.parametrize("address", ["somewhere", "host:", "host:port", "10.0.0.1"])
def test_an_address_without_a_port_is_refused(address: str) -> None:
    with pytest.raises(SettingError, match=f"ray '{address}' is no address; write HOST:PORT"):
        check_reachable(address)


def test_auto_is_left_to_ray() -> None:
    check_reachable("auto")


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_package_to_install_is_named() -> None:
    with pytest.raises(SettingError, match=r"pip install 'ravine\[ray\]'"):
        connect("auto")
