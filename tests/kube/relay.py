"""Lets tests reach an address inside a network namespace: what connects to a port here is connected to it there.

`python -m tests.kube.relay PORT NAMESPACE HOST:PORT` listens on 127.0.0.1 before it enters the namespace, and a socket
stays where it was made.
"""

import asyncio
import ctypes
import errno
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

CLONE_NEWNET = 0x40000000
PIECE = 64 * 1024


async def relay(port: int, namespace: Path, target: str) -> None:
    """Pass on whatever comes, both ways, until it is ended."""
    host, _, there = target.rpartition(":")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, peer = writer.get_extra_info("peername")
        try:
            other_reader, other_writer = await asyncio.open_connection(host, int(there))
            await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))
        except OSError as error:
            line = failed(datetime.now(UTC), peer, target, error)
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - its log
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    enter_network(namespace)
    await server.serve_forever()


def failed(now: datetime, peer: int, target: str, error: OSError) -> str:
    """Say what failed: when, for the client on which port, and with which errno."""
    code = errno.errorcode.get(error.errno or 0, "?")
    return f"{now.isoformat(timespec='milliseconds')} client port {peer}, no connection to {target}: {code} {error}"


def enter_network(namespace: Path) -> None:
    """Make the sockets of this thread from now on in another network namespace."""
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    finally:
        os.close(descriptor)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
    with suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
