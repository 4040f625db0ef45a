"""Changes are told to everybody who listens, each key once to whoever is late."""

import asyncio

from beamlit_controller.controller.changes import Changes


async def test_a_late_listener_hears_of_each_key_once_in_order() -> None:
    changes: Changes[str] = Changes()
    listener = changes.subscribe()

    for key in ("b", "a", "b", "c"):
        changes.publish(key)

    assert await listener.keys() == ("b", "a", "c")


async def test_every_listener_hears_on_its_own() -> None:
    changes: Changes[str] = Changes()
    one, other = changes.subscribe(), changes.subscribe()
    changes.publish("a")
    assert await one.keys() == ("a",)
    changes.publish("b")

    assert await one.keys() == ("b",)
    assert await other.keys() == ("a", "b")


async def test_who_listens_waits_until_something_changes() -> None:
    changes: Changes[str] = Changes()
    listener = changes.subscribe()
    waiting = asyncio.ensure_future(listener.keys())
    await asyncio.sleep(0)
    assert not waiting.done()

    changes.publish("a")

    assert await waiting == ("a",)


async def test_who_stopped_listening_is_told_nothing() -> None:
    changes: Changes[str] = Changes()
    listener = changes.subscribe()

    changes.unsubscribe(listener)
    changes.publish("a")

    waiting = asyncio.ensure_future(listener.keys())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
