"""What all tests share."""

import asyncio
import os
from collections.abc import Iterator

import hypothesis
import pytest

pytest_plugins = ["kube.fixtures"]

# Machines are shared: how long an example takes says nothing.
hypothesis.settings.register_profile("patient", deadline=None)
# What one Python has looked at in depth, the others need not.
hypothesis.settings.register_profile("brief", deadline=None, max_examples=10)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "patient"))


@pytest.fixture(scope="session", autouse=True)
def _main_loop() -> Iterator[None]:
    """Provide the main thread a loop and close it: on 3.11 the runner of async tests makes one unasked and leaves it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
