"""The page at `/`: what is sent to whom, and what a real browser makes of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from beamlit_controller.api.problems import Problem
from beamlit_controller.controller.ports import Clock
from beamlit_controller.core import budget_periods, cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.ledger import Ledger
from beamlit_controller.core.metric_spec import ExternalMetric, SeriesSelector, Value
from beamlit_controller.core.price import Budget, BudgetUnit, Period
from beamlit_controller.core.spec import Behavior, ModelKey, OffloadSpec, RemoteBackend, Scheme
from beamlit_controller.core.spending import Account
from beamlit_controller.core.traffic import Minute, RequestCounters
from beamlit_controller.core.usage import Usage
from beamlit_controller.telemetry import page, web
from beamlit_controller.telemetry.exposition import Exposition
from beamlit_controller.telemetry.liveness import Check
from beamlit_controller.telemetry.models import ModelDetails, ModelsSink
from beamlit_controller.telemetry.page import PageAccess
from beamlit_controller.telemetry.web import WebEndpoints
from builders import NOW, QUEUE, minute, missing, sample, signals, spec
from fakes.browser import browser
from waiting import eventually

WELL = Check(ok=True, text="all is well")
BROWSER = {"accept": "text/html,application/xhtml+xml"}
LLAMA = spec(
    remote=RemoteBackend(Scheme.HTTPS, "api.example.com", 443, "/models/llama"), behavior=Behavior(percentage=50)
)
FORGED = "<img src=x onerror=\"document.title='forged'\"><script>document.title='forged'</script>"


@dataclass
class Controller:
    """A site that is served, which learns of rounds."""

    models: ModelsSink
    url: str
    task: asyncio.Task[None]

    def tell(
        self, name: str, value: int | None = 5, whole: OffloadSpec = LLAMA, previous: Decision | None = None
    ) -> Decision:
        at = self.models.snapshot().at
        read = missing() if value is None else sample(value, at=at, window=timedelta(0))
        model = replace(whole, key=ModelKey("models", name))
        record = cycle.run(model, signals(read, at=at), previous=previous, now=at)
        self.models.record(record)
        return record.decision

    def client(self, **headers: str) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url, headers=headers, trust_env=False, verify=False, timeout=60)


@contextlib.asynccontextmanager
async def serving(
    clock: Clock,
    access: PageAccess | None = None,
    *,
    gateways: Mapping[str, Mapping[str, object]] | None = None,
    minute: Minute | None = None,
    problems: tuple[Problem, ...] = (),
    address: str = "127.0.0.1:0",
) -> AsyncIterator[Controller]:
    around = ModelDetails(
        gateway=lambda key: (gateways or {}).get(key.name, {}), problems=lambda: problems, minute=lambda _: minute
    )
    models = ModelsSink(clock, around)
    site = WebEndpoints(lambda: WELL, lambda: WELL, Exposition(CollectorRegistry()), models, access or PageAccess())
    listener = web.bind(address)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with asyncio.TaskGroup() as group:
        task = group.create_task(web.run(site, listener))
        yield Controller(models, url, task)
        task.cancel()


# What is sent to whom.


async def test_a_browser_gets_the_page_and_curl_a_list_of_endpoints(clock: Clock) -> None:
    async with serving(clock) as controller, controller.client() as client:
        shown = await client.get("/", headers=BROWSER)
        listed = await client.get("/")

    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert listed.headers["content-type"] == "text/plain; charset=utf-8"
    assert shown.headers["vary"] == listed.headers["vary"] == "accept"


async def test_the_page_names_nothing_that_is_not_served_here_and_may_load_nothing_else(clock: Clock) -> None:
    async with serving(clock) as controller, controller.client() as client:
        shown = await client.get("/", headers=BROWSER)
        files = [await client.get(f"/page/{name}") for name in page.FILES]

    assert [file.status_code for file in files] == [200] * len(page.FILES)
    for answer in (shown, *files):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "https://" not in answer.text
        assert "innerHTML" not in answer.text


async def test_without_the_page_a_browser_gets_the_list_and_no_file_is_served(clock: Clock) -> None:
    async with serving(clock, PageAccess(page=False)) as controller, controller.client() as client:
        assert (await client.get("/", headers=BROWSER)).headers["content-type"] == "text/plain; charset=utf-8"
        assert (await client.get("/page/page.js")).status_code == 404
        assert (await client.get("/models")).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8081",
        "10.0.0.7",
        "[::1]:8081",
        "localhost:8081",
        "LOCALHOST",
        "gpu-box:8081",
        "gpu-box.lan",
        "beamlit-controller.beamlit-system.svc:8081",
        "beamlit-controller.beamlit-system.svc.cluster.local.",
        "models.example.com:443",
        "a.apps.example.com",
    ],
)
def test_names_of_ours_are_answered(host: str) -> None:
    assert PageAccess(hosts=("models.example.com", "*.apps.example.com")).allows(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":8081",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8081",
        "beamlit-controller.beamlit-system.svc.evil.example",
        "evil-models.example.com",
        "[::1",
        "evil.example/.svc",
        "evil.example#.localhost",
        "localhost@evil.example",
    ],
)
def test_a_foreign_name_is_not_ours(host: str) -> None:
    assert not PageAccess(hosts=("models.example.com",)).allows(host)


async def test_a_foreign_host_sees_neither_page_nor_models_while_probes_and_scrapes_are_answered(clock: Clock) -> None:
    async with serving(clock) as controller, controller.client(host="evil.example:8081") as client:
        controller.tell("llama")
        answers = {
            path: await client.get(path)
            for path in ("/", "/page/page.js", "/models", "/models/models/llama", "/models/models/llama/history")
        }
        probed = [(await client.get(path)).status_code for path in ("/healthz", "/readyz", "/metrics")]

    assert {answer.status_code for answer in answers.values()} == {421}
    assert answers["/models"].json() == {
        "error": "Host 'evil.example:8081' is refused: list it in config.page.hosts",
    }
    assert probed == [200, 200, 200]


async def test_the_history_of_a_model_is_a_minute_each_and_of_an_unknown_one_a_404(clock: Clock) -> None:
    async with serving(clock) as controller, controller.client() as client:
        controller.tell("llama", 25)
        known = await client.get("/models/models/llama/history")
        unknown = await client.get("/models/models/other/history")

    minute = {"begin": f"{NOW:%Y-%m-%dT%H:%M:%SZ}", "percentage": 50, "ratio": 2.5, "sent": None}
    assert known.json() == {"minutes": [minute]}
    assert (unknown.status_code, unknown.json()) == (
        404,
        {"error": "no model models/other; known are: models/llama"},
    )


# In a browser.


@pytest.mark.system
async def test_it_shows_the_worst_first_and_whatever_comes_from_outside_as_text(clock: Clock, tmp_path: Path) -> None:
    remote = {"status": "False", "reason": "RemoteFails", "message": FORGED}
    problem = Problem(f"{FORGED}.yaml", "spec", FORGED)
    async with (
        serving(clock, gateways={"worse": {"remote": remote, "problem": ""}}, problems=(problem,)) as controller,
        browser(tmp_path) as tab,
    ):
        controller.tell("fine", whole=replace(LLAMA, metrics=(ExternalMetric(SeriesSelector(FORGED), Value(9000)),)))
        controller.tell("worse", 25)
        controller.models.failed(ModelKey("models", FORGED), KeyError(FORGED))

        await tab.open(f"{controller.url}/#models%2Fworse")
        await eventually(lambda: tab.text("#model h2"), what="the model is shown")

        assert (await tab.text("#summary")).startswith("3 models: 2 failing, 1 local")
        rows = await tab.evaluate("[...document.querySelectorAll('#fleet tbody th')].map((each) => each.innerText)")
        assert rows == [f"models/{FORGED}", "models/worse", "models/fine"]
        shown = await tab.text("#model")
        for words in ("Remote fails, local answers", "queue 25 > 10", f"RemoteFails: {FORGED}", "The policy"):
            assert words in shown
        assert await tab.evaluate("document.querySelectorAll('img, main script').length") == 0
        assert "forged" not in await tab.evaluate("document.title")
        assert tab.complaints == []


@pytest.mark.system
async def test_it_shows_each_of_several_remotes_by_name_with_its_state(clock: Clock, tmp_path: Path) -> None:
    one = RemoteBackend(Scheme.HTTPS, "one.example.com", 443, name="one")
    two = RemoteBackend(Scheme.HTTPS, "two.example.com", 443, name="two")
    refused = {"status": "False", "reason": "RemoteRefusesCredential", "message": FORGED}
    known = {"llama": {"problem": "", "remotes": {"one": refused}}}
    async with serving(clock, gateways=known) as controller, browser(tmp_path) as tab:
        controller.tell("llama", whole=replace(LLAMA, remote=one, next_remotes=(two,)))

        await tab.open(f"{controller.url}/#models%2Fllama")
        await eventually(lambda: tab.text("#model h2"), what="the model is shown")

        shown = await tab.text("#model")
        for words in (
            "one",
            "https://one.example.com",
            f"RemoteRefusesCredential: {FORGED}",
            "https://two.example.com",
        ):
            assert words in shown
        narrow, whole = [
            await tab.evaluate(f"document.querySelector('{each}').clientWidth")
            for each in ("#model tbody tr:has(strong) td", "#model")
        ]
        assert narrow > whole / 8, "the address of a remote had the width of eight letters"
        assert tab.complaints == []


@pytest.mark.system
async def test_a_remote_whose_budget_is_spent_says_so_in_place_of_its_last_answers(
    clock: Clock, tmp_path: Path
) -> None:
    budget = Budget(Decimal(5), BudgetUnit.REQUESTS, Period.DAY)
    one = RemoteBackend(Scheme.HTTPS, "one.example.com", 443, name="one", budget=budget)
    two = RemoteBackend(Scheme.HTTPS, "two.example.com", 443, name="two")
    answers = {"status": "True", "reason": "RemoteAnswers", "message": "4 of 4"}
    known = {"llama": {"problem": "", "remotes": {"one": answers, "two": answers}}}
    async with serving(clock, gateways=known) as controller, browser(tmp_path) as tab:
        previous = controller.tell("llama", 25, whole := replace(LLAMA, remote=one, next_remotes=(two,)))
        today = budget_periods.label(budget_periods.period_start(budget, previous.since))
        spent = replace(previous, ledger=Ledger((Account("one", period=today, spent=Usage(requests=6)),)))
        controller.tell("llama", 25, whole, spent)

        await tab.open(f"{controller.url}/#models%2Fllama")
        await eventually(lambda: tab.text("#model h2"), what="the model is shown")

        shown = await tab.text("#model")
        assert "Offloading 50 % to two.example.com since" in shown
        assert "BudgetSpent: 120 % of its budget used" in shown
        assert shown.count("RemoteAnswers: 4 of 4") == 1


@pytest.mark.system
async def test_what_leaves_without_a_decision_is_shown_where_gateways_count_it(clock: Clock, tmp_path: Path) -> None:
    seen = Minute(timedelta(seconds=60), RequestCounters(in_flight=4, local=132, overflow=108))
    async with serving(clock, minute=seen) as controller, browser(tmp_path) as tab:
        controller.tell("llama")
        await tab.open(controller.url)
        await eventually(lambda: tab.text("#model h2"), what="the model is shown")

        shown = await tab.text("#model")

    assert "Offloading 45 % to api.example.com\n" in shown
    assert "In the last minute 2.2/s local, 1.8/s remote: 45 % went to the remote (45 % overflow)" in shown


@pytest.mark.system
async def test_what_nobody_answered_is_drawn_for_no_side(clock: Clock, tmp_path: Path) -> None:
    """The bar showed it as answered by local."""
    seen = Minute(timedelta(seconds=60), RequestCounters(local=40, overflow=20, unanswered=40))
    async with serving(clock, minute=seen) as controller, browser(tmp_path) as tab:
        controller.tell("llama")
        await tab.open(controller.url)
        await eventually(lambda: tab.text("#model h2"), what="the model is shown")

        shown = await tab.text("#model")
        drawn = "[...document.querySelectorAll('#model svg.bar rect')].map((each) => each.getAttribute('width'))"
        whole, local, remote = await tab.evaluate(drawn)

    assert "20 % went to the remote (20 % overflow); 40 % unanswered" in shown
    assert (whole, local, remote) == ("100", "40", "20")


@pytest.mark.system
async def test_what_is_true_now_is_drawn_and_not_what_was_in_the_minute(clock: Clock, tmp_path: Path) -> None:
    seen = minute(*(RequestCounters(local=30),) * 9, *(RequestCounters(unavailable=30),) * 3)
    async with serving(clock, minute=seen) as controller, browser(tmp_path) as tab:
        controller.tell("llama")
        await tab.open(controller.url)
        await eventually(lambda: tab.text("#model h2"), what="the model is shown")

        shown = await tab.text("#model")
        drawn = "[...document.querySelectorAll('#model svg.bar rect')].map((each) => each.getAttribute('width'))"
        _, local, remote = await tab.evaluate(drawn)

    assert "In the last 10 s 0/s local, 6/s remote: 100 % went to the remote" in shown
    assert (local, remote) == ("0", "100")


@pytest.mark.system
async def test_while_the_remote_fails_it_says_what_that_means_and_what_to_do(clock: Clock, tmp_path: Path) -> None:
    remote = {"status": "False", "reason": "ConnectionFailed", "message": "api.example.com refused the connection"}
    seen = Minute(timedelta(seconds=60), RequestCounters(in_flight=4, local=132))
    async with (
        serving(clock, gateways={"llama": {"remote": remote}}, minute=seen) as controller,
        browser(tmp_path) as tab,
    ):
        controller.tell("llama", 25)
        await tab.open(controller.url)
        await eventually(lambda: tab.text("#model h2"), what="the model is shown")

        shown = await tab.text("#model")

    assert "Remote down, local answers" in shown
    assert "local takes every request, and they wait: queue 25 of 10" in shown
    assert "What to do\ncheck that the remote is running" in shown


@pytest.mark.system
async def test_it_follows_by_itself_keeps_the_focus_and_tells_when_nobody_answers(clock: Clock, tmp_path: Path) -> None:
    async with browser(tmp_path) as tab:
        async with serving(clock) as controller:
            controller.tell("a")
            controller.tell("b")
            await tab.open(controller.url)
            await eventually(lambda: tab.text("#fleet tbody"), what="the models are shown")
            for _ in range(3):  # the link past the page, then that of each model
                await tab.press("Tab")
            await tab.press("Enter")
            await eventually(lambda: tab.text("#model h2"), what="the model is shown")

            controller.tell("b", 25)

            await eventually(lambda: _says(tab.text("#model"), "Offloading 50 %"))
            assert await tab.evaluate("document.activeElement.id") == "model"
            assert await tab.evaluate("location.hash") == "#models%2Fb"
            address = controller.url.removeprefix("http://")
        await eventually(lambda: _says(tab.text("#summary"), "No answer from the controller"))
        assert "Offloading 50 %" in await tab.text("#model")

        async with serving(clock, address=address) as controller:
            controller.tell("c")

            await eventually(lambda: _says(tab.text("#summary"), "1 model: 1 local"))
            assert "No answer" not in await tab.text("#summary")


@pytest.mark.system
async def test_it_fits_a_phone_is_dark_where_asked_for_and_has_words_for_who_does_not_see_it(
    clock: Clock, tmp_path: Path
) -> None:
    long = ExternalMetric(SeriesSelector("sum_of_" + "very_" * 30 + "long"), Value(1000))
    async with serving(clock) as controller, browser(tmp_path) as tab:
        decided = controller.tell("llama", 25, replace(LLAMA, metrics=(QUEUE,)))
        clock.forward(60)
        controller.tell("llama", 25, replace(LLAMA, metrics=(QUEUE,)), decided)
        controller.tell("x" * 60, whole=replace(LLAMA, metrics=(long,)))
        await tab.resize(360, dark=True)

        await tab.open(f"{controller.url}/#models%2Fllama")
        await eventually(lambda: tab.evaluate("document.querySelector('figure') !== null"), what="a line is drawn")

        assert await tab.evaluate("document.documentElement.scrollWidth") <= 360
        dark = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
        await tab.resize(1200)
        assert await tab.evaluate("document.documentElement.scrollWidth") <= 1200
        assert await tab.evaluate("getComputedStyle(document.body).backgroundColor") != dark
        heard = await tab.heard()
        assert ("heading", "models/llama") in heard
        assert ("link", "models/llama") in heard
        assert ("table", "Metrics against their targets") in heard
        assert any(
            role == "image" and name.startswith("Share for the remote, as decided: between 50 %")
            for role, name in heard
        )
        assert ("columnheader", "Highest metric") in heard
        assert "status" in {role for role, _ in heard}


async def _says(text: Awaitable[str], words: str) -> bool:
    return words in await text
