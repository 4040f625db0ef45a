"""Keeps garbage collection pauses short with any number of models.

A full collection visits every live object and blocks everything else: a third of a second with a thousand models.
Long-lived objects are therefore frozen, so that collections skip them. Each round replaces the state of its model, so
soon most of what is kept is not frozen: the interpreter would collect it every few seconds, so this is left to this module
too. Reference counting still frees nearly all of it. Reference cycles wait for the collection before the next freeze, or,
if they were frozen before they became garbage, for the hourly one of everything.
"""

import asyncio
import gc
from typing import Final

PERIOD: Final = 30.0
"""Seconds between freezes of long-lived objects."""

FULL_EVERY: Final = 120
"""Periods between full collections: an hour."""

SELDOM: Final = 1_000
"""Collections of the middle generation before one of the oldest, instead of 10."""


async def freeze_what_is_kept() -> None:
    """Collect what is garbage and freeze the rest periodically until cancelled, then restore the garbage collector's settings."""
    youngest, middle, oldest = gc.get_threshold()
    gc.set_threshold(youngest, middle, SELDOM)
    try:
        while True:
            for _ in range(FULL_EVERY):
                await asyncio.sleep(PERIOD)
                gc.collect()
                gc.freeze()
            gc.unfreeze()
            gc.collect()
            gc.freeze()
    finally:
        gc.set_threshold(youngest, middle, oldest)
        gc.unfreeze()
