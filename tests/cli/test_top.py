"""What `top` shows of many models, and how it ends."""

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from inline_snapshot import snapshot
from rich.console import Console

from beamlit_controller.api.models_view import LeftView, TrafficView
from beamlit_controller.api.problems import Problem
from beamlit_controller.cli import top, top_table
from beamlit_controller.core import cycle
from beamlit_controller.core.signals import Reading
from beamlit_controller.core.spec import Behavior, ModelKey, OffloadSpec, Override, RemoteBackend, Scheme
from beamlit_controller.telemetry import models
from beamlit_controller.telemetry.models import ModelDetails, ModelsSink
from builders import NOW, missing, sample, signals, spec
from fakes import http
from waiting import eventually

UP: Mapping[str, object] = {"ready": True, "connected": True}
LLAMA = spec(
    remote=RemoteBackend(Scheme.HTTPS, "api.example.com", 443, "/models/llama"), behavior=Behavior(percentage=50)
)


@dataclass(frozen=True)
class Clock:
    """A clock that stands."""

    at: datetime

    def now(self) -> datetime:
        return self.at


class Fleet:
    """A controller's memory of many models."""

    def __init__(self, *, later: float = 0, problems: Sequence[Problem] = ()) -> None:
        self.gateways: dict[ModelKey, Mapping[str, object]] = {}
        around = ModelDetails(gateway=lambda key: self.gateways.get(key, UP), problems=lambda: problems)
        self.sink = ModelsSink(Clock(NOW + timedelta(seconds=later)), around)

    def add(self, name: str, *readings: Reading, whole: OffloadSpec = LLAMA, **gateway: object) -> "Fleet":
        key = ModelKey("models", name)
        read = signals(*(readings or (sample(5),)))
        self.sink.record(cycle.run(replace(whole, key=key), read, previous=None, now=NOW))
        self.gateways[key] = {**UP, **gateway}
        return self

    @property
    def document(self) -> bytes:
        return models.as_json(self.sink.snapshot())


def shown(fleet_: Fleet, width: int = 150, height: int | None = None) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=False)
    console.print(top_table.show(models.view(fleet_.sink.snapshot()), width, height))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def named(lines: Sequence[str]) -> list[str]:
    return [line.split()[0].removeprefix("models/") for line in lines if line.startswith("models/")]


def test_an_override_is_written_in_full_below_the_table() -> None:
    """The table cut its end, its reason and its author."""
    by_hand = replace(LLAMA, override=Override(25, NOW + timedelta(hours=1), "ada", "a rehearsal"))

    lines = shown(Fleet().add("a-local").add("b-hand", whole=by_hand), 80)

    told = " ".join(lines[lines.index("") :])
    assert "models/b-hand: Overridden: set to 25 % by hand until 2026-06-01 13:00:00 UTC, by ada, a rehearsal" in told
    assert "models/a-local:" not in told


def test_every_model_is_a_line_and_those_that_need_a_person_come_first() -> None:
    remote = {"status": "False", "reason": "RemoteFails", "message": "503 for 12 of 12 requests"}
    world = Fleet(later=3, problems=[Problem("phi.yaml models/phi", "spec.modle", "no such field")])
    world.add("a-local").add("b-over", sample(25)).add("c-blind", missing()).add("d-remote", remote=remote)
    world.add("e-off", whole=replace(LLAMA, enabled=False)).add("f-down", connected=False)
    world.sink.failed(ModelKey("models", "g-never"), KeyError("unexpected"))

    assert shown(world, 120) == snapshot(
        [
            "7 models  3 failing  1 without metrics  1 offloading  1 local  1 disabled  12:00:03Z",
            "",
            "MODEL            STATE                        FOR  READY  WHY",
            "models/d-remote  REMOTE FAILS, LOCAL ANSWERS  -    3/3    RemoteFails: 503 for 12 of 12 requests",
            "models/f-down    LOCAL                        -    3/3    the gateway is not connected",
            "models/g-never   NO ROUND YET                 -    -      KeyError('unexpected')",
            "models/c-blind   LOCAL, METRICS LOST          -    3/3    ConnectionFailed: queue: prometheus:9090 refused the connec…",
            "models/b-over    OFFLOADING 50 %              3 s  3/3    MetricAboveTarget: queue 25 > 10",
            "models/a-local   LOCAL                        3 s  3/3    MetricBelowTarget: queue 5 <= 10",
            "models/e-off     DISABLED, ALL LOCAL          3 s  3/3    Disabled: spec.enabled is false: everything is served local…",
            "",
            "models/d-remote: RemoteFails: 503 for 12 of 12 requests",
            "  local takes every request; to do: check the remote",
            "",
            "models/f-down: the gateway is not connected",
            "  the gateway keeps its last cap and percentage; to do: it reconnects automatically; otherwise check its log and, in a",
            "cluster, NetworkPolicies",
            "",
            "models/g-never: KeyError('unexpected')",
            "  retried automatically; please report the traceback in the controller's log",
            "",
            "models/c-blind: ConnectionFailed: queue: prometheus:9090 refused the connection",
            "  nothing is offloaded, however full local is; to do: check the source of the metric; meanwhile, `beamlit-controller",
            "override` can set the percentage",
            "",
            "1 mistake, the first in phi.yaml models/phi: spec.modle; explain shows them",
        ]
    )


def test_a_model_whose_rounds_stopped_or_fail_is_told_apart_from_one_that_is_well() -> None:
    late = Fleet(later=90).add("llama")
    failing = Fleet().add("llama")
    failing.sink.failed(ModelKey("models", "llama"), KeyError("unexpected"))

    assert "1 failing" in shown(late)[0]
    assert "no round for 1 min" in shown(late)[3]
    assert "the last round failed: KeyError('unexpected')" in shown(failing)[3]


def test_a_screen_that_is_too_short_keeps_the_worst_and_counts_the_rest() -> None:
    world = Fleet()
    for number in range(40):
        world.add(f"m{number:02}")
    world.add("z-over", sample(25))

    lines = shown(world, height=12)

    assert named(lines) == ["z-over", "m00", "m01", "m02", "m03"]
    assert lines[-1] == "and 36 more"
    assert len(lines) <= 12


@pytest.mark.parametrize("width", [40, 80, 100, 130, 200])
def test_no_width_cuts_the_state_or_runs_over(width: int) -> None:
    lines = shown(Fleet().add("a-model-with-a-rather-long-name", sample(25)).add("b", missing()), width)

    assert max(map(len, lines)) <= width
    assert any("OFFLOADING 50 %" in line for line in lines)


def test_what_servers_answer_does_not_steer_the_terminal() -> None:
    lines = shown(Fleet().add("llama", problem="[red]\x1b[2J\nforged"))

    assert "\x1b" not in "".join(lines)
    assert r"[red]\x1b[2J\nforged" in lines[3]


def test_what_leaves_without_a_decision_is_shown_where_gateways_count_it() -> None:
    view = models.view(Fleet().add("llama").sink.snapshot())
    left = LeftView(share=0, overflow=0.447, unavailable=0, forced=0)
    traffic = TrafficView(
        local_per_second=2.2,
        remote_per_second=1.84,
        sent=0.447,
        left=left,
        kept=0,
        unanswered=0,
        in_flight=0,
        in_flight_limit=None,
        local_first_byte_ms=None,
        remote_first_byte_ms=None,
        text="",
    )
    counted = view.model_copy(update={"models": (view.models[0].model_copy(update={"traffic": traffic}),)})

    console_ = console(terminal=False)
    console_.print(top_table.show(counted, 130))

    screen = console_.file.getvalue()
    assert "1 offloading" in screen
    assert "OFFLOADING 45 %" in screen
    assert "2.2 + 1.8" in screen


def test_the_remote_is_the_first_one_that_requests_can_go_to() -> None:
    two = RemoteBackend(Scheme.HTTPS, "two.example.com", 443, name="two")
    several = replace(LLAMA, remote=replace(two, host="one.example.com", name="one"), next_remotes=(two,))
    fails = {"one": {"status": "False", "reason": "RemoteFails", "message": "503 for 12 of 12 requests"}}
    world = Fleet().add("both", whole=several).add("second", whole=several, remotes=fails)
    world.add("none", whole=replace(LLAMA, remote=None))

    lines = shown(world, 170)

    begin = next(line.index("REMOTE") for line in lines if line.startswith("MODEL"))
    remotes = {name: line[begin:].split()[0] for line in lines for name in named([line])}
    assert remotes == {"both": "one.example.com", "second": "two.example.com", "none": "-"}


def test_no_models_are_said_to_be_none() -> None:
    assert shown(Fleet())[2] == "no models"


# Against a server.


def answering(world: Fleet) -> http.Respond:
    return http.by_path(models=http.page(world.document, content_type="application/json"))


def console(*, terminal: bool) -> Console:
    return Console(width=130, height=30, file=io.StringIO(), color_system=None, force_terminal=terminal)


async def test_elsewhere_than_at_a_terminal_it_prints_once() -> None:
    out = console(terminal=False)
    async with http.serve(answering(Fleet().add("llama"))) as server:
        code = await top.look(server.address, out)

    assert code == 0
    assert "models/llama" in out.file.getvalue()


async def test_a_controller_that_is_not_there_is_said_to_be_so_by_the_exit_code_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = await top.look("127.0.0.1:1", console(terminal=True), once=True)

    assert code == 1
    assert "no answer from http://127.0.0.1:1/models" in capsys.readouterr().err


async def test_at_a_terminal_it_goes_on_through_a_controller_that_is_away() -> None:
    out = console(terminal=True)
    async with http.serve(http.page(status=503)) as server, asyncio.TaskGroup() as group:
        task = group.create_task(top.look(server.address, out))
        await eventually(lambda: "got status 503" in out.file.getvalue())

        server.respond = answering(Fleet().add("llama"))

        await eventually(lambda: "models/llama" in out.file.getvalue())
        task.cancel()
