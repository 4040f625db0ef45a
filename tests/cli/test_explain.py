"""What `explain` shows and how it ends; the screens are made from rounds that were really decided."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import httpx2
import pytest
from inline_snapshot import snapshot
from rich.console import Console

from beamlit_controller.api.models_view import ModelsView
from beamlit_controller.api.problems import Problem
from beamlit_controller.cli import explain, explain_screen
from beamlit_controller.cli.explain import Failed, pick, report
from beamlit_controller.core import cycle
from beamlit_controller.core.ledger import UsageReading
from beamlit_controller.core.metric_spec import ExternalMetric, Selector, SeriesSelector, Value
from beamlit_controller.core.price import Budget, BudgetUnit, Period
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import PodSamples, Reading
from beamlit_controller.core.spec import Behavior, ModelKey, OffloadSpec, Ramp, RemoteBackend, Scheme
from beamlit_controller.core.traffic import Minute, RequestCounters
from beamlit_controller.core.usage import Usage
from beamlit_controller.telemetry import models
from beamlit_controller.telemetry.models import ModelDetails, ModelsSink
from builders import CPU, NOW, QUEUE, RUNNING, minute, missing, pod_samples, sample, signals, spec
from fakes import http
from waiting import eventually

SECOND = timedelta(seconds=1)
HALF = Behavior(percentage=50)
REMOTE = RemoteBackend(Scheme.HTTPS, "api.example.com", 443, "/models/llama")
LLAMA = spec(model="llama-3-8b", remote=REMOTE, behavior=HALF)
LATENCY = ExternalMetric(
    SeriesSelector(
        'sum(rate(vllm:time_to_first_token_seconds_sum{namespace="models"}[1m])) / '
        'sum(rate(vllm:time_to_first_token_seconds_count{namespace="models"}[1m]))'
    ),
    Value(2000),
)


@dataclass
class World:
    """A controller's memory, filled round by round; the clock stands where the last round was, or later."""

    at: datetime = NOW
    problems: list[Problem] = field(default_factory=list)
    gateway: dict[str, object] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    minute: Minute | None = None

    def __post_init__(self) -> None:
        around = ModelDetails(
            lambda _: self.gateway, lambda _: self.notices, lambda: self.problems, lambda _: self.minute
        )
        self.sink = ModelsSink(self, around)

    def now(self) -> datetime:
        return self.at

    def rounds(self, whole: OffloadSpec, *rounds: tuple[Reading, ...], every: int = 60, ready: int = 3) -> "World":
        previous = None
        for readings in rounds:
            self.at += every * SECOND
            read = [_moved(reading, self.at) for reading in readings]
            seen = signals(*read, at=self.at, ready=ready, total=3)
            record = cycle.run(whole, seen, previous=previous, now=self.at, took=12 * SECOND / 1000)
            self.sink.record(record)
            previous = record.decision
        self.at += SECOND
        return self

    @property
    def document(self) -> bytes:
        return models.as_json(self.sink.snapshot())

    @property
    def view(self) -> ModelsView:
        return ModelsView.model_validate_json(self.document)


def _moved(reading: Reading, at: datetime) -> Reading:
    """Let a reading of the builders end at another time and cover nothing before it."""
    match reading:
        case PodSamples():
            return replace(
                reading, samples=tuple(replace(each, at=at, window=timedelta(0)) for each in reading.samples)
            )
        case _ if hasattr(reading, "window"):
            return replace(reading, at=at, window=timedelta(0))
        case _:
            return reading


def shown(world: World, name: str = "llama", width: int = 100) -> str:
    model = pick(world.view, name)
    assert not isinstance(model, Failed)
    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=False)
    console.print(explain_screen.show(world.view, model))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def test_offloading_says_how_much_where_to_why_and_what_ends_it() -> None:
    world = World(gateway={"pid": 4711, "ready": True, "restarts": 0, "listeners": {"main": "127.0.0.1:8080"}})
    world.rounds(LLAMA, (sample(5),), (sample(25),), (sample("12.5"),))

    assert shown(world) == snapshot("""\
models/llama  model llama-3-8b
OFFLOADING 50 % → api.example.com since 12:02:00Z, 1 min 1 s ago
MetricAboveTarget: queue 12.5 > 10
decided 1 s ago, reading took 12 ms, 3 of 3 local endpoints ready, demand 250% of the target

METRIC  VALUE  TARGET  RATIO             AGE  STATE
queue    12.5      10  █████|█···· 125%  1 s  over

What would change it
  - no more than 50 % is offloaded: limited by behavior.percentage
  - releases when demand stays at 90% of the target or less for 60 s; it is 250% now

Gateway
    pid 4711, ready, restarts 0, listeners main 127.0.0.1:8080

Last changes
  12:02:00Z  1 min 1 s ago  0 → 50 %  MetricAboveTarget: queue 25 > 10\
""")


def test_local_says_when_it_would_offload() -> None:
    world = World().rounds(replace(LLAMA, metrics=(CPU, RUNNING)), (pod_samples("0.2", "0.3", "0.4"), pod_samples(9)))

    assert shown(world) == snapshot("""\
models/llama  model llama-3-8b
LOCAL since 12:01:00Z, 1 s ago
MetricBelowTarget: cpu 30% <= 50%; vllm:num_requests_running 9 per pod <= 10
decided 1 s ago, reading took 12 ms, 3 of 3 local endpoints ready, demand 90% of the target

METRIC                     VALUE  TARGET  RATIO            AGE  STATE
cpu                          30%     50%  ███··|····· 60%  1 s  under
vllm:num_requests_running      9  10/pod  ████·|····· 90%  1 s  under

What would change it
  - offloads 50 % when cpu > 50% or vllm:num_requests_running > 10 per pod\
""")


def test_metrics_that_can_not_be_read_and_pods_without_a_value_are_told_with_their_reasons() -> None:
    selected = ExternalMetric(SeriesSelector("queue", Selector((("team", "search"),))), Value(10_000))
    partly = PodSamples(pod_samples(4, 6).samples, (("worker-2", missing(Reason.TIMED_OUT, "no answer within 0.8 s")),))
    lost = missing(Reason.NO_SERIES, 'no series queue{team="search"} in the last 300 s')
    whole = replace(LLAMA, metrics=(selected, RUNNING, LATENCY))

    world = World(notices=["spec.offloadingConfig.stickiness: accepted, not in effect yet"])
    world.problems = [Problem("mistral.yaml models/mistral", "spec.modle", "no such field, did you mean model?")]
    world.rounds(whole, (sample(5), partly, sample(1)), *[(lost, partly, sample("1.9"))] * 2, ready=2)

    assert shown(world) == snapshot("""\
models/llama  model llama-3-8b
LOCAL, A METRIC LOST
means: nothing is offloaded, however full local is
to do: check the source of the metric; meanwhile, `beamlit-controller override` can set the
percentage
MetricsUnavailable: queue: no series queue{team="search"} in the last 300 s; the percentage stays
decided 1 s ago, reading took 12 ms, 2 of 3 local endpoints ready, demand unknown

METRIC                                             VALUE  TARGET  RATIO            AGE  STATE
queue{team=search}                                     -      10  -                  -  unreadable
vllm:num_requests_running                              5  10/pod  ██···|····· 50%  1 s  under
sum(rate(vllm:time_to_first_token_seconds_sum{nam    1.9       2  ████·|····· 95%  1 s  between
espace="models"}[1m])) /
sum(rate(vllm:time_to_fir…
  ! queue: NoSeries
  ! vllm:num_requests_running without worker-2: TimedOut: no answer within 0.8 s

What would change it
  - offloads 50 % when queue > 10 or vllm:num_requests_running > 10 per pod or
    sum(rate(vllm:time_to_first_token_seconds_sum{namespace="mo… > 2

Notices
  - spec.offloadingConfig.stickiness: accepted, not in effect yet

Mistakes in manifests and settings
  ! mistral.yaml models/mistral: spec.modle: no such field, did you mean model?\
""")


def test_a_failure_of_the_only_server_is_told_once() -> None:
    lost = missing(Reason.CONNECTION_FAILED, "refused the connection")
    world = World().rounds(replace(LLAMA, metrics=(RUNNING,)), (PodSamples((), (("127.0.0.1:9", lost),)),))

    told = " ".join(shown(world).split())
    assert [told.count(words) for words in ("ConnectionFailed", "refused the connection")] == [1, 1]


def test_dry_run_is_plain_to_see() -> None:
    engage = Ramp(30 * SECOND, Decimal("0.1"), 20, 15 * SECOND)
    whole = replace(LLAMA, behavior=Behavior(percentage=50, engage=engage, dry_run=True))

    assert shown(World().rounds(whole, (sample(20),), (sample(20),))) == snapshot("""\
models/llama  model llama-3-8b
DRY RUN, WOULD SEND 20 % → api.example.com since 12:02:00Z, 1 s ago
MetricAboveTarget: queue 20 > 10
decided 1 s ago, reading took 12 ms, 3 of 3 local endpoints ready, demand 200% of the target

METRIC  VALUE  TARGET  RATIO             AGE  STATE
queue      20      10  █████|█████ 200%  1 s  over

What would change it
  - rises to 40 % if a metric measured after the last change is over its target
  - releases when demand stays at 90% of the target or less for 60 s; it is 200% now

Last changes
  12:02:00Z  1 s ago  0 → 20 %  MetricAboveTarget: queue 20 > 10\
""")


def test_disabled_is_plain_to_see() -> None:
    assert shown(World().rounds(replace(LLAMA, enabled=False), (sample(20),))) == snapshot("""\
models/llama  model llama-3-8b
DISABLED, ALL LOCAL since 12:01:00Z, 1 s ago
Disabled: spec.enabled is false: everything is served locally
decided 1 s ago, reading took 12 ms, 3 of 3 local endpoints ready

METRIC  VALUE  TARGET  RATIO             AGE  STATE
queue      20      10  █████|█████ 200%  1 s  over

What would change it
  - nothing, while spec.enabled is false\
""")


def test_a_remote_that_fails_is_told_above_the_metrics_and_not_only_among_the_facts_of_the_gateway() -> None:
    """A share that is decided looks like one that leaves, while local serves all of it."""
    remote = {"status": "False", "reason": "ConnectionFailed", "message": "10.0.0.1 refused the connection"}
    world = World(gateway={"ready": True, "connected": True, "remote": remote})

    lines = shown(world.rounds(LLAMA, (sample(20),))).splitlines()

    assert lines.index("ConnectionFailed: 10.0.0.1 refused the connection") < 5


def test_a_failing_round_stands_above_all_else() -> None:
    world = World().rounds(LLAMA, (sample(20),))
    world.sink.failed(LLAMA.key, KeyError("unexpected"))
    world.at += 90 * SECOND

    assert shown(world).splitlines()[:5] == snapshot(
        [
            "models/llama  model llama-3-8b",
            "OFFLOADING 50 % → api.example.com",
            "the last round failed: KeyError('unexpected')",
            "means: the gateway keeps its last cap and percentage; values are from the last good round",
            "to do: retried automatically; please report the traceback in the controller's log",
        ]
    )


def test_a_model_that_never_had_a_round_says_how_the_last_one_ended() -> None:
    world = World()
    world.sink.failed(LLAMA.key, KeyError("unexpected"))
    world.at += 3 * SECOND

    assert shown(world) == snapshot("""\
models/llama
NO ROUND HAS SUCCEEDED YET  the last one ended 3 s ago
KeyError('unexpected')\
""")


def test_what_foreign_servers_answer_neither_steers_the_terminal_nor_is_taken_for_markup() -> None:
    world = World().rounds(LLAMA, (missing(Reason.MALFORMED_ANSWER, "<html>\x1b[2J\n[red]forged[/red] :smile:"),))

    screenful = shown(world)

    assert "\x1b" not in screenful
    assert r"<html>\x1b[2J\n[red]forged[/red] :smile:" in screenful


def test_many_mistakes_are_counted() -> None:
    world = World(problems=[Problem(f"{n}.yaml", "spec", "expected a mapping") for n in range(12)])
    world.rounds(LLAMA, (sample(5),))

    assert shown(world).splitlines()[-2:] == ["  ! 4.yaml: spec: expected a mapping", "    and 7 more"]


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_width_loses_the_state_of_a_metric_or_overflows(width: int) -> None:
    world = World().rounds(replace(LLAMA, metrics=(QUEUE, LATENCY)), (sample(20), missing()))

    lines = shown(world, width=width).splitlines()

    assert max(len(line) for line in lines) <= width
    text = " ".join(lines)
    for word in ("OFFLOADING 50 %", "over", "unreadable") if width >= 80 else ("OFFLOADING 50 %",):
        assert word in text


def test_a_name_may_carry_its_namespace_and_has_to_where_it_is_not_alone() -> None:
    world = World().rounds(LLAMA, (sample(5),)).rounds(replace(LLAMA, key=ModelKey("other", "llama")), (sample(5),))
    world.rounds(replace(LLAMA, key=ModelKey("models", "mistral")), (sample(5),))
    view = world.view

    assert [pick(view, name).namespace for name in ("models/llama", "other/llama", "mistral")] == [
        "models",
        "other",
        "models",
    ]
    assert pick(view, "llama") == Failed(
        "llama is the name of several models: models/llama, other/llama; give NAMESPACE/NAME", 2
    )
    assert pick(view, "lama") == Failed(
        "no model lama; the controller knows: models/llama, models/mistral, other/llama", 2
    )
    assert pick(World().view, "llama") == Failed("no model llama; the controller knows: none", 2)


# Against a server.


class Printed:
    """A console whose output tests read."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.file = io.StringIO()
        self.console = Console(width=100, file=self.file, color_system=None, force_terminal=terminal, height=50)

    @property
    def text(self) -> str:
        return self.file.getvalue()


def controller(world: World) -> http.Respond:
    async def respond(request: http.Request, writer: asyncio.StreamWriter) -> None:
        answer = http.by_path(models=http.page(world.document, content_type="application/json"))
        await answer(request, writer)

    return respond


async def test_a_running_controller_is_asked_and_its_answer_shown() -> None:
    printed = Printed()
    async with http.serve(controller(World().rounds(LLAMA, (sample(20),)))) as server:
        code = await report("llama", server.address, console=printed.console)

    assert code == 0
    assert "OFFLOADING 50 % → api.example.com" in printed.text


@pytest.mark.parametrize("form", ["http://{}", "http://{}/"])
async def test_the_address_may_be_a_url(form: str) -> None:
    async with http.serve(controller(World().rounds(LLAMA, (sample(20),)))) as server:
        assert await report("llama", form.format(server.address), console=Printed().console) == 0


async def test_json_is_the_model_as_it_came_with_the_mistakes_beside_it() -> None:
    world = World(problems=[Problem("a.yaml", "spec", "x" * 300)]).rounds(LLAMA, (sample(20),))
    document = json.loads(world.document)
    document["models"][0]["fromLaterVersions"] = 1
    printed = Printed()

    async with http.serve(http.by_path(models=http.json(document))) as server:
        code = await report("models/llama", server.address, "json", console=printed.console)

    assert code == 0
    assert json.loads(printed.text) == document["models"][0] | {"problems": document["problems"]}


async def test_an_unknown_name_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    async with http.serve(controller(World().rounds(LLAMA, (sample(20),)))) as server:
        code = await report("lama", server.address, console=Printed().console)

    assert (code, capsys.readouterr().err) == (2, "no model lama; the controller knows: models/llama\n")


async def test_a_controller_that_is_not_there_ends_with_1_and_what_was_tried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with http.serve(http.page()) as server:
        address = server.address

    code = await report("llama", address, console=Printed().console)

    said = capsys.readouterr().err
    assert code == 1
    assert said == (
        f"no answer from http://{address}/models: Connection refused; "
        "is the controller running, and is this its address?\n"
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http.json({"error": "unexpected"}, status=500), 'got status 500: {"error": "unexpected"}'),
        (http.page("<html>Grafana</html>"), "expected a beamlit-controller at"),
        (http.json({"models": "none"}), "got another server's response: at: Field required"),
        (http.json([]), "expected a beamlit-controller at"),
        (http.redirect("http://elsewhere.example/"), "got status 302"),
        (http.hang_up, "no answer from"),
        (http.garbage, "no answer from"),
        (http.page("x", content_encoding="gzip"), "expected content-encoding none, got gzip"),
        (http.page("x", status=500, content_encoding="gzip"), "got status 500"),
        (http.page("[" * 200_000), "got another server's response: Invalid JSON"),
        (http.endless(), "got another server's response: it has more than 33554432 bytes"),
    ],
    ids=[
        *("500", "html", "strange-models", "list", "redirect", "hang-up", "garbage", "gzip", "500 in gzip"),
        *("deep", "endless"),
    ],
)
async def test_whatever_else_answers_ends_with_1_in_words(
    answer: http.Respond, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with http.serve(answer) as server:
        code = await report("llama", server.address, console=Printed().console)

    assert code == 1
    assert said in capsys.readouterr().err


async def test_a_server_that_answers_byte_by_byte_is_waited_for_only_so_long() -> None:
    async with (
        http.serve(http.drip(b" " * 1_000_000, interval=0)) as server,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        answer = await explain.fetch(client, server.address, within=0.3)

    assert answer == Failed(f"no complete answer from http://{server.address}/models within 0.3 s", 1)


@pytest.mark.parametrize("address", ["not an address", "http://", "127.0.0.1:99999"])
async def test_an_address_that_is_none_ends_with_1_in_words(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await report("llama", address, console=Printed().console) == 1

    assert capsys.readouterr().err.startswith("no answer from ")


async def test_an_address_of_another_scheme_is_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert await report("llama", "htp://127.0.0.1:1", console=Printed().console) == 1

    assert capsys.readouterr().err == "--address: expected host:port or http://host:port, got htp://127.0.0.1:1\n"


async def watched(printed: Printed, output: str, see: Callable[[World, http.Server], Awaitable[None]]) -> None:
    """Watch a world until `see` has seen enough."""
    world = World().rounds(LLAMA, (sample(5),))
    async with http.serve(controller(world)) as server:
        watching = asyncio.create_task(
            report("llama", server.address, output, watch=True, console=printed.console)  # type: ignore[arg-type]
        )
        try:
            await see(world, server)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
    assert watching.cancelled()


@pytest.mark.parametrize("terminal", [True, False])
async def test_watching_shows_what_changes(terminal: bool) -> None:  # noqa: FBT001 - a parameter of the table
    printed = Printed(terminal=terminal)

    async def see(world: World, server: http.Server) -> None:
        await eventually(lambda: "LOCAL" in printed.text)
        world.rounds(LLAMA, (sample(20),))
        await eventually(lambda: "OFFLOADING 50 %" in printed.text)

    await watched(printed, "table", see)


async def test_watching_lives_through_a_time_without_an_answer() -> None:
    printed = Printed(terminal=True)

    async def see(world: World, server: http.Server) -> None:
        await eventually(lambda: "LOCAL" in printed.text)
        good, server.respond = server.respond, http.hang_up
        await eventually(lambda: "no answer from" in printed.text)
        world.rounds(LLAMA, (sample(20),))
        server.respond = good
        await eventually(lambda: "OFFLOADING 50 %" in printed.text)

    await watched(printed, "table", see)


async def test_watching_as_json_prints_one_document_after_the_other() -> None:
    printed = Printed()

    async def see(world: World, server: http.Server) -> None:
        await eventually(lambda: printed.text.count("\n}\n") >= 2)

    await watched(printed, "json", see)

    first, _, _ = printed.text.partition("\n}\n")
    assert json.loads(first + "\n}")["name"] == "llama"


def test_a_trigger_that_never_was_read_is_said() -> None:
    world = World().rounds(LLAMA, (missing(),), (missing(),), every=300)

    assert "! MetricNeverSeen: never read since 2026-06-01 12:05 UTC: queue: prometheus:9090 refused" in shown(world)


def test_nothing_is_said_of_a_trigger_that_works() -> None:
    world = World().rounds(LLAMA, (sample(25),), (sample(5),), every=300)

    assert "TargetReached" not in shown(world)


def test_each_of_several_remotes_is_shown_by_name_with_its_state() -> None:
    one = RemoteBackend(Scheme.HTTPS, "one.example.com", 443, name="one")
    two = RemoteBackend(Scheme.HTTPS, "two.example.com", 443, name="two")
    refused = {"status": "False", "reason": "RemoteRefusesCredential", "message": "one.example.com answers 402"}
    world = World(gateway={"ready": True, "remotes": {"one": refused}})
    world.rounds(replace(LLAMA, remote=one, next_remotes=(two,)), (sample(25),))

    lines = shown(world).splitlines()

    assert lines[1].startswith("OFFLOADING 50 % → two.example.com since ")
    begin = lines.index("Remotes, in order")
    assert lines[begin + 1 : begin + 3] == [
        "  - one  https://one.example.com  RemoteRefusesCredential: one.example.com answers 402",
        "  - two  https://two.example.com",
    ]


def test_remotes_that_share_requests_are_shown_with_their_weights() -> None:
    one, two = (
        RemoteBackend(Scheme.HTTPS, f"{name}.example.com", 443, name=name, weight=weight)
        for name, weight in (("one", 3), ("two", 1))
    )
    world = World().rounds(replace(LLAMA, remote=one, next_remotes=(two,)), (sample(25),))

    lines = shown(world).splitlines()

    assert lines[1].startswith("OFFLOADING 50 % → one.example.com and two.example.com by weight since ")
    begin = lines.index("Remotes")
    assert lines[begin + 1 : begin + 3] == [
        "  - one (weight 3)  https://one.example.com",
        "  - two (weight 1)  https://two.example.com",
    ]


def test_a_remote_whose_budget_is_spent_says_so_instead_of_how_it_answered_last() -> None:
    """It said that the remote answers, for as long as nothing was sent there."""
    budget = Budget(Decimal(5), BudgetUnit.REQUESTS, Period.DAY)
    one, two = (
        RemoteBackend(Scheme.HTTPS, f"{name}.example.com", 443, name=name, budget=budget) for name in ("one", "two")
    )
    answers = {"status": "True", "reason": "RemoteAnswers", "message": "answered the last requests: 4 of 4"}
    world = World(gateway={"ready": True, "remotes": {"one": answers, "two": answers}})
    whole, previous = replace(LLAMA, remote=one, next_remotes=(two,)), None
    for used in (0, 9):
        usage = UsageReading({"gateway": {"one": Usage(requests=used), "two": Usage()}})
        record = cycle.run(whole, replace(signals(sample(25)), usage=usage), previous=previous, now=NOW)
        previous = record.decision
        world.sink.record(record)

    lines = shown(world).splitlines()

    assert lines[1].startswith("OFFLOADING 50 % → two.example.com since ")
    begin = lines.index("Remotes, in order")
    assert lines[begin + 1 : begin + 3] == [
        "  - one  https://one.example.com  BudgetSpent: 9 of 5 requests per day used",
        "  - two  https://two.example.com  RemoteAnswers: answered the last requests: 4 of 4",
    ]


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (RequestCounters(local=60, overflow=20), "OFFLOADING 25 % → api.example.com"),
        (RequestCounters(unavailable=60), "LOCAL DOWN, REMOTE ANSWERS → api.example.com"),
        (RequestCounters(local=60), "LOCAL"),
    ],
)
def test_where_requests_really_went_is_said_and_not_only_the_share(seen: RequestCounters, state: str) -> None:
    """With local dead all requests went to the remote, and what was shown was LOCAL."""
    world = World(minute=Minute(timedelta(seconds=60), seen))
    world.rounds(LLAMA, (sample(2),))

    lines = shown(world).splitlines()

    assert lines[1].partition(" since ")[0] == state
    assert any(line.startswith("last minute: ") for line in lines)


def test_requests_that_are_answered_in_another_way_than_before_are_shown_beside_those_of_the_minute() -> None:
    """Beside LOCAL DOWN it was shown only that most requests of the last minute had gone to local."""
    counted = minute(*(RequestCounters(local=30),) * 9, *(RequestCounters(unavailable=30),) * 3)
    world = World(minute=counted)
    world.rounds(LLAMA, (sample(2),))

    lines = shown(world).splitlines()

    assert lines[1].startswith("LOCAL DOWN, REMOTE ANSWERS")
    assert [line.partition(":")[0] for line in lines if line.startswith("last ")] == ["last 10 s", "last minute"]
    assert (
        "last 10 s: 0/s local, 6/s remote: 100 % went to the remote (100 % unavailable); 0 in flight at local" in lines
    )
