"""Sockets below a long path."""

import socket
from pathlib import Path

from beamlit_controller.standalone import sockets


def test_a_socket_below_a_path_longer_than_the_system_allows_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 200)
    deep.mkdir()
    with sockets.reachable(deep / "admin.sock") as path, socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        with sockets.reachable(deep / "admin.sock") as again, socket.socket(socket.AF_UNIX) as client:
            client.connect(again)

    assert (deep / "admin.sock").is_socket()
