"""What an HTTP client's errors say, over real sockets."""

import socket

import httpx2
import pytest

from beamlit_controller.api import system_errors


@pytest.mark.parametrize(("listens", "says"), [(True, "timed out"), (False, "Connection refused")])
async def test_the_message_is_that_of_the_system_and_not_how_the_client_was_cancelled(listens: bool, says: str) -> None:  # noqa: FBT001 - a case of the table
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen()
        async with httpx2.AsyncClient(timeout=0.1, trust_env=False) as client:
            with pytest.raises(httpx2.HTTPError) as raised:
                await client.get(f"http://127.0.0.1:{server.getsockname()[1]}/models")

    assert system_errors.message(raised.value) == says
