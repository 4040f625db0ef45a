"""The demo's authority: a client that trusts it accepts the remote by its name, and nobody else does."""

import asyncio
import ssl
import stat
from pathlib import Path

import pytest

from demo import certificates


async def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with asyncio.timeout(60), await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=server) as listener:
        port = listener.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=name)
        writer.close()


def serving(files: certificates.Files) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    return context


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_the_remote_is_accepted_by_its_names(tmp_path: Path, name: str) -> None:
    files = certificates.make(tmp_path)

    await shake_hands(serving(files), ssl.create_default_context(cafile=files.ca), name)


async def test_the_remote_is_refused_by_another_name(tmp_path: Path) -> None:
    files = certificates.make(tmp_path)

    with pytest.raises(ssl.SSLCertVerificationError):
        await shake_hands(serving(files), ssl.create_default_context(cafile=files.ca), "example.com")


async def test_the_remote_is_refused_by_those_who_trust_another_authority(tmp_path: Path) -> None:
    files, others = certificates.make(tmp_path / "ours"), certificates.make(tmp_path / "others")

    with pytest.raises(ssl.SSLCertVerificationError):
        await shake_hands(serving(files), ssl.create_default_context(cafile=others.ca), "localhost")


def test_nobody_else_can_read_the_key(tmp_path: Path) -> None:
    assert stat.S_IMODE(certificates.make(tmp_path).key.stat().st_mode) == 0o600
