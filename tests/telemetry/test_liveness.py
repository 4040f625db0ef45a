"""Whether rounds end well, and what is said when they don't, in virtual time: no wall clock is asked."""

import asyncio
from datetime import timedelta

import pytest

from beamlit_controller.core import cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.telemetry.liveness import Check, Liveness
from builders import NOW, signals, spec

LLAMA, MISTRAL = ModelKey("models", "llama"), ModelKey("models", "mistral")

pytestmark = pytest.mark.looptime


@pytest.fixture
def pulse() -> Liveness:
    return Liveness(timedelta(seconds=30))


def good(key: ModelKey = LLAMA) -> Cycle:
    return cycle.run(spec(key=key), signals(), previous=None, now=NOW)


async def test_it_is_alive_without_any_model(pulse: Liveness) -> None:
    await asyncio.sleep(3600)

    assert pulse.alive() == Check(ok=True, text="no models")


async def test_it_is_alive_while_a_round_of_any_model_ended_well_within_the_bound(pulse: Liveness) -> None:
    pulse.failed(MISTRAL, RuntimeError())
    await asyncio.sleep(20)
    pulse.record(good())
    await asyncio.sleep(30)

    assert pulse.alive() == Check(ok=True, text="the last successful round was 30 s ago")


async def test_it_is_not_when_the_last_good_round_is_older(pulse: Liveness) -> None:
    pulse.record(good())
    await asyncio.sleep(31)
    pulse.failed(LLAMA, RuntimeError())

    assert pulse.alive() == Check(ok=False, text="the last successful round was 31 s ago; at most 30 s are expected")


async def test_it_is_not_when_no_round_ever_ended_well(pulse: Liveness) -> None:
    await asyncio.sleep(100)
    pulse.failed(LLAMA, RuntimeError())
    assert pulse.alive().ok

    await asyncio.sleep(31)
    pulse.failed(LLAMA, RuntimeError())

    assert pulse.alive() == Check(
        ok=False, text="no round has succeeded in the 31 s since the first one began; at most 30 s are expected"
    )


async def test_models_that_are_gone_are_not_expected_any_more(pulse: Liveness) -> None:
    pulse.record(good())
    await asyncio.sleep(3600)
    pulse.forget(LLAMA)
    assert pulse.alive().ok

    pulse.failed(MISTRAL, RuntimeError())

    assert pulse.alive().ok


async def test_it_is_ready_once_every_model_had_its_round(pulse: Liveness) -> None:
    pulse.record(good())
    assert pulse.ready([LLAMA, MISTRAL]) == Check(ok=False, text="no evaluation has succeeded yet for models/mistral")

    pulse.record(good(MISTRAL))

    assert pulse.ready([LLAMA, MISTRAL]) == Check(ok=True, text="2 models, all evaluated")
    assert pulse.ready([LLAMA]) == Check(ok=True, text="1 model, evaluated")


async def test_a_round_that_failed_does_not_make_it_ready(pulse: Liveness) -> None:
    pulse.failed(LLAMA, RuntimeError())

    assert not pulse.ready([LLAMA]).ok


async def test_it_is_not_ready_while_a_gateway_is_down(pulse: Liveness) -> None:
    pulse.record(good())

    check = pulse.ready([LLAMA, MISTRAL], gateways_down=[LLAMA])

    assert check.text == "no evaluation has succeeded yet for models/mistral; the gateway is down for models/llama"


async def test_of_many_models_only_some_are_named(pulse: Liveness) -> None:
    check = pulse.ready([ModelKey("models", f"m{n}") for n in range(1000)])

    assert check.text == (
        "no evaluation has succeeded yet for models/m0, models/m1, models/m10, models/m100, models/m101 and 995 more"
    )
