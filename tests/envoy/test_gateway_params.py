"""Addresses and places: read as people write them, refused with what was expected."""

import pytest

from beamlit_controller.envoy import addresses
from beamlit_controller.envoy.gateway_params import GatewayParams


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("127.0.0.1:8000", {"socket_address": {"address": "127.0.0.1", "port_value": 8000}}),
        ("llama.models.svc:80", {"socket_address": {"address": "llama.models.svc", "port_value": 80}}),
        ("[fd00::1]:8000", {"socket_address": {"address": "fd00::1", "port_value": 8000}}),
        ("127.0.0.1:0", {"socket_address": {"address": "127.0.0.1", "port_value": 0}}),
        ("unix:/run/admin.sock", {"pipe": {"path": "/run/admin.sock"}}),
        ("unix:admin.sock", {"pipe": {"path": "admin.sock"}}),
    ],
)
def test_reads_addresses(text: str, read: dict[str, object]) -> None:
    assert addresses.message(text) == read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", "host:port"),
        (":8000", "host:port"),
        ("fd00::1:8000", r"\[v6\]:port"),
        ("[fd00::1:8000", r"\[v6\]:port"),
        ("host:http", "a port from 0 to 65535"),
        ("host:65536", "a port from 0 to 65535"),
        ("host:-1", "a port from 0 to 65535"),
        ("host:٣", "a port from 0 to 65535"),
        ("unix:", "from 1 to 107 bytes"),
        (f"unix:/{'x' * 107}", "from 1 to 107 bytes"),
    ],
)
def test_refuses_what_is_no_address(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        addresses.message(text)


@pytest.mark.parametrize("admin", ["unix:admin.sock", "127.0.0.1:9901", "127.9.9.9:9901", "[::1]:9901"])
def test_the_admin_interface_may_be_where_only_this_machine_reaches_it(admin: str) -> None:
    assert _params(admin=admin).admin == admin


@pytest.mark.parametrize("admin", ["0.0.0.0:9901", "[::]:9901", "10.0.0.1:9901", "localhost:9901"])
def test_the_admin_interface_may_be_nowhere_else(admin: str) -> None:
    with pytest.raises(ValueError, match="admin: expected a unix socket or a loopback address"):
        _params(admin=admin)


def test_a_place_refuses_bad_addresses_of_servers() -> None:
    with pytest.raises(ValueError, match="host:port"):
        _params(local=("127.0.0.1:8000", "nonsense"))


def _params(**changes: object) -> GatewayParams:
    return GatewayParams(
        **{
            "node": "models/llama",
            "directory": "/gateway",
            "front": "127.0.0.1:8080",
            "stats": "127.0.0.1:9902",
            "admin": "unix:admin.sock",
            "shares": "unix:shares.sock",
            **changes,
        }
    )
