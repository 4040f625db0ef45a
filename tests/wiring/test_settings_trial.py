"""What changed settings need from this machine is tried before they are put in force."""

import socket
from collections.abc import Iterator, Sequence

import pytest

from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.settings import Settings
from beamlit_controller.wiring import settings_trial


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return the controller's own socket."""
    with socket.create_server(("127.0.0.1", 0)) as own:
        yield own


def settings(standalone: object) -> Settings:
    read = api_settings.read({"config": {"standalone": standalone}})
    assert isinstance(read, Settings)
    return read


async def tried(standalone: object, listener: socket.socket) -> Sequence[str]:
    """Return the objections to these settings."""
    return [str(each) for each in await settings_trial.problems(settings(standalone), listener=listener)]


def port_of(listener: socket.socket) -> int:
    return listener.getsockname()[1]


async def test_a_web_address_that_another_program_uses_is_named(listener: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        (said,) = await tried({"webListen": f"127.0.0.1:{port_of(other)}"}, listener)

    assert said.startswith("config.standalone.webListen: cannot listen on 127.0.0.1:")
    assert said.endswith(": Address already in use")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "127.0.0.2"])
async def test_the_port_of_the_controller_itself_is_free_for_the_next_start(listener: socket.socket, host: str) -> None:
    assert await tried({"webListen": f"{host}:{port_of(listener)}"}, listener) == []


async def test_a_host_that_is_none_of_this_machine_is_named(listener: socket.socket) -> None:
    (said,) = await tried({"webListen": f"192.0.2.1:{port_of(listener)}"}, listener)

    assert said.startswith("config.standalone.webListen: cannot listen on 192.0.2.1:")
    assert said.endswith(": Cannot assign requested address")


async def test_the_port_of_the_controller_is_not_free_at_an_address_of_another_program(listener: socket.socket) -> None:
    with socket.create_server(("127.0.0.2", port_of(listener))):
        (said,) = await tried({"webListen": f"127.0.0.2:{port_of(listener)}"}, listener)

    assert said.endswith(": Address already in use")
