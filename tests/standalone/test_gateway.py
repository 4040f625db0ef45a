"""One worker per gateway: whatever goes wrong in one is shown, tried again, and noticed by nobody else. With real processes."""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.standalone import process
from beamlit_controller.standalone.gateway import Gateway
from beamlit_controller.standalone.gateway_template import BOOTSTRAP, GatewayTemplate
from beamlit_controller.standalone.gateways import Gateways
from waiting import eventually

LLAMA, MISTRAL = ModelKey("default", "llama"), ModelKey("default", "mistral")
SLEEPS = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; while :; do sleep 0.05; done"
DIES = (
    "echo '[2026-01-01 00:00:00.000][7][critical][main] [source/server.cc:1] cannot bind 127.0.0.1:9: in use'; exit 3"
)


def written(_: OffloadSpec, __: Path) -> Mapping[str, str]:
    return {BOOTSTRAP: "{}"}


def changing(spec: OffloadSpec, _: Path) -> Mapping[str, str]:
    """Return a file that changes with the spec."""
    return {BOOTSTRAP: "{}", "other.json": spec.model}


def template(
    script: str | Callable[[Path], str], *, files: Callable[[OffloadSpec, Path], Mapping[str, str]] = written
) -> GatewayTemplate:
    """Return gateways that are a script of the shell."""

    def command(_: OffloadSpec, directory: Path, __: int) -> Sequence[str]:
        return ["/bin/sh", "-c", script if isinstance(script, str) else script(directory), str(directory / BOOTSTRAP)]

    return GatewayTemplate(files=files, command=command, secrets=lambda _: [], stats="", attempts=lambda _: {})


def pids(directory: Path) -> list[int]:
    found = process.find(str(directory / BOOTSTRAP))
    for each in found:
        each.close()
    return [each.pid for each in found]


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@asynccontextmanager
async def kept(gateway: Gateway, key: ModelKey = LLAMA) -> AsyncIterator[Latest[OffloadSpec]]:
    """Have a gateway kept; afterwards its process is killed."""
    specs = Latest(OffloadSpec(key, "llama"))
    task = asyncio.create_task(gateway.keep(specs))
    try:
        yield specs
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait((task,))
        stop_now = asyncio.Event()
        stop_now.set()
        await gateway.stop(drain=0, stop_now=stop_now)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Have the system refuse to open anything more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_one_that_ends_at_once_again_and_again_is_ended_and_cleared_away_like_any_other(tmp_path: Path) -> None:
    """It was ended through a descriptor that had been closed already."""
    gateway = Gateway(LLAMA, tmp_path / "default.llama", template(DIES))
    task = asyncio.create_task(gateway.keep(Latest(OffloadSpec(LLAMA, "llama"))))
    await eventually(lambda: gateway.state["restarts"] > 1)
    task.cancel()
    await asyncio.wait((task,))

    await gateway.stop(drain=1, stop_now=asyncio.Event())

    assert not (tmp_path / "default.llama").exists()


async def test_why_it_can_not_stay_up_is_shown_in_the_words_of_its_own_log(tmp_path: Path) -> None:
    gateway = Gateway(LLAMA, tmp_path / "default.llama", template(DIES))

    async with kept(gateway):
        await eventually(lambda: gateway.state["problem"])
        state = gateway.state

    assert "Envoy ended: cannot bind 127.0.0.1:9: in use" in state["problem"]
    assert state["ready"] is False
    assert gateway.faults > 0


async def test_a_changed_spec_is_tried_without_waiting_for_the_next_retry(tmp_path: Path) -> None:
    gateway = Gateway(LLAMA, tmp_path / "default.llama", template(lambda _: DIES))
    async with kept(gateway) as specs:
        await eventually(lambda: gateway.state["restarts"] == 4)

        for replicas in range(8):  # by now a retry waits for seconds
            specs.set(OffloadSpec(LLAMA, f"llama{replicas}"))
            before = gateway.state["restarts"]
            await eventually(lambda before=before: gateway.state["restarts"] > before, within=10)


async def test_files_that_can_not_be_written_are_shown_and_tried_again(tmp_path: Path) -> None:
    directory = tmp_path / "gateways" / "default.llama"
    (tmp_path / "gateways").write_text("no folder")
    gateway = Gateway(LLAMA, directory, template(SLEEPS))

    async with kept(gateway):
        await eventually(lambda: "Not a directory" in gateway.state["problem"])
        (tmp_path / "gateways").unlink()

        await eventually(lambda: pids(directory))


async def test_a_folder_that_was_taken_away_is_not_made_anew_under_a_process_that_would_not_see_it(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "default.llama"
    gateway = Gateway(LLAMA, directory, template(SLEEPS, files=changing))
    async with kept(gateway) as specs:
        await eventually(lambda: pids(directory))
        directory.rename(tmp_path / "taken away")

        specs.set(OffloadSpec(LLAMA, "another"))
        await eventually(lambda: "No such file or directory" in gateway.state["problem"])

        assert not directory.exists()


async def test_what_needs_a_new_process_is_told_where_none_can_take_over(tmp_path: Path) -> None:
    """A changed bootstrap was written, and never read."""
    directory = tmp_path / "default.llama"
    gateway = Gateway(LLAMA, directory, template(SLEEPS, files=lambda spec, _: {BOOTSTRAP: spec.model}))
    async with kept(gateway) as specs:
        await eventually(lambda: pids(directory))
        before = pids(directory)

        specs.set(OffloadSpec(LLAMA, "another"))
        await eventually(lambda: "the previous one keeps serving" in gateway.state["problem"])

        assert pids(directory) == before
        specs.set(OffloadSpec(LLAMA, "llama"))
        await eventually(lambda: not gateway.state["problem"])


async def test_what_nobody_expected_of_a_spec_is_shown_while_the_process_serves_on(tmp_path: Path) -> None:
    def files(spec: OffloadSpec, _: Path) -> Mapping[str, str]:
        if spec.model == "bad":
            raise ZeroDivisionError("unheard of")
        return changing(spec, _)

    directory = tmp_path / "default.llama"
    gateway = Gateway(LLAMA, directory, template(SLEEPS, files=files))
    async with kept(gateway) as specs:
        await eventually(lambda: pids(directory))
        before = pids(directory)

        specs.set(OffloadSpec(LLAMA, "bad"))
        await eventually(lambda: "ZeroDivisionError: unheard of" in gateway.state["problem"])
        specs.set(OffloadSpec(LLAMA, "good"))
        await eventually(lambda: gateway.state["problem"] == "")

        assert (directory / "other.json").read_text() == "good"
        assert pids(directory) == before


async def test_one_that_does_not_listen_to_sigterm_is_killed(tmp_path: Path) -> None:
    directory = tmp_path / "default.llama"
    gateway = Gateway(LLAMA, directory, template(DEAF))
    stop_now = asyncio.Event()
    stop_now.set()

    async with kept(gateway):
        await eventually(lambda: pids(directory))
    await gateway.stop(drain=10, stop_now=stop_now)

    assert pids(directory) == []


async def test_a_stop_that_the_system_refuses_is_tried_again(tmp_path: Path) -> None:
    directory = tmp_path / "default.llama"
    gateway = Gateway(LLAMA, directory, template(SLEEPS))
    task = asyncio.create_task(gateway.keep(Latest(OffloadSpec(LLAMA, "llama"))))
    await eventually(lambda: pids(directory))
    task.cancel()
    await asyncio.wait((task,))

    with no_descriptors():
        stopping = asyncio.create_task(gateway.stop(drain=0, stop_now=asyncio.Event()))
        await eventually(lambda: "Too many open files" in gateway.state["problem"])
    await asyncio.wait_for(stopping, 20)

    assert pids(directory) == []


async def wanted(*changes: Latest[Mapping[ModelKey, OffloadSpec]]) -> AsyncIterator[Mapping[ModelKey, OffloadSpec]]:
    (specs,) = changes
    seen = specs.value
    yield seen
    while True:
        seen = await specs.changed_from(seen)
        yield seen


async def test_a_model_in_a_crash_loop_comes_and_goes_without_the_others_noticing(tmp_path: Path) -> None:
    def script(directory: Path) -> str:
        return DIES if directory.name == "default.llama" else SLEEPS

    both = {key: OffloadSpec(key, key.name) for key in (LLAMA, MISTRAL)}
    specs: Latest[Mapping[ModelKey, OffloadSpec]] = Latest(both)
    gateways = Gateways(tmp_path, template(script))
    task = asyncio.create_task(gateways.run(lambda: wanted(specs)))
    await eventually(lambda: gateways.state(LLAMA).get("restarts", 0) > 1 and pids(tmp_path / "default.mistral"))
    before = pids(tmp_path / "default.mistral")

    specs.set({MISTRAL: both[MISTRAL]})
    await eventually(lambda: not (tmp_path / "default.llama").exists())
    specs.set(both)
    await eventually(lambda: gateways.state(LLAMA).get("restarts", 0) > 1)

    assert not task.done()
    assert pids(tmp_path / "default.mistral") == before
    task.cancel()
    await asyncio.wait((task,))
    await gateways.stop()
    assert pids(tmp_path / "default.mistral") == []
    assert names(tmp_path) == []


async def test_those_that_can_not_be_stopped_are_named_and_all_others_are(tmp_path: Path) -> None:
    specs: Latest[Mapping[ModelKey, OffloadSpec]] = Latest({LLAMA: OffloadSpec(LLAMA, "llama")})
    gateways = Gateways(tmp_path, template(SLEEPS))
    task = asyncio.create_task(gateways.run(lambda: wanted(specs)))
    await eventually(lambda: pids(tmp_path / "default.llama"))
    task.cancel()
    await asyncio.wait((task,))
    gateways.skip_draining()

    with no_descriptors(), pytest.raises(OSError, match="may still be running: default/llama"):
        await gateways.stop()

    for each in process.find(str(tmp_path / "default.llama" / BOOTSTRAP)):
        async with each:
            each.send(signal.SIGKILL)
            await each.exited()
