"""The last good specs of refused models are looked for one by one, and none of them ends the search for the others."""

import asyncio
from functools import partial
from typing import Any

import pytest

from beamlit_controller.api import translate
from beamlit_controller.api.settings import Settings
from beamlit_controller.controller.changes import Changes
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import models
from beamlit_controller.kubernetes.last_good import LastGood
from beamlit_controller.kubernetes.store import Store
from waiting import eventually

pytestmark = pytest.mark.looptime

Json = dict[str, Any]


class Faulty:
    """An API server whose answer for one of the models nobody foresaw, a number of times."""

    def __init__(self, name: str, times: int) -> None:
        self._name = name
        self._times = times

    async def get(self, path: str) -> Json:
        if self._name in path and self._times:
            self._times -= 1
            raise RuntimeError(path)
        return {"metadata": {}}


def refused(name: str) -> Json:
    about = {"name": name, "namespace": "models", "uid": name, "generation": 1, "resourceVersion": "1"}
    return {"metadata": about, "spec": {"model": 3}}


async def test_an_answer_that_nobody_foresaw_holds_up_no_other_model_and_is_asked_for_again() -> None:
    store = Store(partial(translate.read, settings=Settings()), Changes())
    for name in ("first", "second"):
        store.model_changed(("models", name), models.stored(refused(name)))

    def recalled(name: str) -> bool:
        return not store.models.models[ModelKey("models", name)].awaits_last_good

    search = asyncio.ensure_future(LastGood(Faulty("first", 3), store).run())  # type: ignore[arg-type] # in its stead

    await eventually(lambda: recalled("second"), within=1, every=0.1)
    assert not recalled("first")
    await eventually(lambda: recalled("first"), within=60, every=0.1)
    search.cancel()
