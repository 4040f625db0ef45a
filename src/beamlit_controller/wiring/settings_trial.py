"""Tries whether changed settings can work on this machine, before the controller restarts with them.

What a gateway alone needs is not tried here: its faults are shown and retried while it keeps serving.
"""

import asyncio
import errno
import socket
from collections.abc import Iterator, Sequence

from beamlit_controller.api import listen_addresses
from beamlit_controller.api.addresses import Address
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.spec import Rejected
from beamlit_controller.telemetry import web
from beamlit_controller.wiring import common


async def problems(settings: Settings, *, listener: socket.socket) -> Sequence[Rejected]:
    """Return the settings that can't be put in force; `listener` is the controller's own socket, which it will close."""
    return await asyncio.to_thread(lambda: (*_web(settings, listener), *_prometheus(settings)))


def _web(settings: Settings, listener: socket.socket) -> Iterator[Rejected]:
    address, own = settings.standalone.web_listen, Address(*listener.getsockname()[:2])
    try:
        web.bind(str(address)).close()
    except OSError as error:
        if not (listen_addresses.overlap(own, address) and error.errno == errno.EADDRINUSE):
            yield Rejected("config.standalone.webListen", error.strerror or str(error))


def _prometheus(settings: Settings) -> Iterator[Rejected]:
    try:
        if settings.prometheus is not None:
            common.connection(settings.prometheus)
    except ValueError as error:
        yield Rejected("config.metricInformer.prometheus", str(error))
