"""Keeps pauses of the garbage collector short, however many models there are.

A full collection looks at every object that is kept, and nothing else runs meanwhile: a third of a second with a thousand
models. What has been kept for a while is therefore frozen, which means that collections pass it over. Reference counting
still frees nearly all of it; what is left in cycles waits for the one collection an hour that looks at everything.
"""

import asyncio
import gc
from typing import Final

PERIOD: Final = 30.0
"""Seconds between two times that what has been kept is frozen."""

FULL_EVERY: Final = 120
"""Periods between two collections of everything: an hour."""


async def freeze_what_is_kept() -> None:
    """Run until cancelled; then the garbage collector is as before."""
    try:
        while True:
            for _ in range(FULL_EVERY):
                await asyncio.sleep(PERIOD)
                gc.collect(1)
                gc.freeze()
            gc.unfreeze()
            gc.collect()
            gc.freeze()
    finally:
        gc.unfreeze()
