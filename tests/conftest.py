"""What all tests share."""

import asyncio
import gc
import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest

pytest_plugins = ["sharing_out", "kube.fixtures"]

# Machines are shared: how long an example takes says nothing.
hypothesis.settings.register_profile("patient", deadline=None)
# What one Python has looked at in depth, the others need not.
hypothesis.settings.register_profile("brief", deadline=None, max_examples=10)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "patient"))

# Under nohup SIGHUP is ignored, and what the tests start would ignore it as well; a handler is not inherited.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_finish() -> None:
    """Keep the collector of garbage from going through thousands of collected tests again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _main_loop() -> Iterator[None]:
    """Provide the main thread a loop and close it: on 3.11 the runner of async tests makes one unasked and leaves it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
