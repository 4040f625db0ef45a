"""The controller on a fake API server in virtual time: what becomes of a model, and what of the others meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import service_patches
from beamlit_controller.telemetry import models
from beamlit_controller.telemetry.models import ModelsSink
from fakes import api_faults, api_users
from fakes.api_controllers import Controllers
from fakes.objects_of_models import Seen, addresses, gateway_pods, model, service, workload
from fakes.replica import World, world
from waiting import eventually

pytestmark = pytest.mark.looptime

Json = dict[str, Any]
LONG = 120


@asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[tuple[World, Controllers]]:
    """Provide a world with a cluster's own controllers, and one workload with its Service."""
    async with world(**settings) as given, Controllers(given.server).running() as controllers:
        for each in (workload(), service()):
            api_users.put(given.server, each)
        yield given, controllers


async def becomes(what: Any, within: float = LONG) -> None:  # noqa: ANN401 - anything to ask
    await eventually(what, within=within, every=0.05)


async def test_a_model_gets_its_gateway_and_its_service_leads_through_it() -> None:
    async with serving() as (given, _):
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)

        await becomes(lambda: seen.ready)

        assert seen.taken
        assert seen.condition("ServiceTaken") == ("True", "ServiceTaken")
        given.metrics.default = 14
        await becomes(lambda: seen.percentage == 50)
        assert given.replicas[0].percentage("llama") == 50


async def test_nothing_is_said_to_lead_through_the_gateway_before_it_was_seen_to() -> None:
    async with serving() as (given, controllers):
        controllers.delays.endpoints = 30
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await becomes(lambda: seen.taken)

        await becomes(lambda: seen.condition("ServiceTaken") == ("False", "ServiceSwitching"))
        assert not seen.ready

        await becomes(lambda: seen.ready)
        assert seen.condition("ServiceTaken") == ("True", "ServiceTaken")
        found = addresses(given.server)
        pods = {each["status"]["podIP"] for each in gateway_pods(given.server)}
        assert found
        assert found <= pods


async def test_a_write_of_the_service_that_is_refused_shows_on_the_very_condition() -> None:
    async with serving() as (given, _):
        given.server.faults.refuse("merge", "*/services/llama", api_faults.forbidden())
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)

        await becomes(lambda: seen.condition("ServiceTaken") == ("False", "APIRefused"))

        assert seen.condition("Ready") == ("False", "APIRefused")
        assert not seen.taken
        assert ("Warning", "APIRefused") in seen.events
        given.server.faults.clear()
        await becomes(lambda: seen.ready)


async def test_a_service_that_can_not_be_written_is_not_said_to_be_taken_because_another_one_is() -> None:
    """It was said to be taken over, since the gateway's own Service had been seen to lead to the gateway."""
    async with serving() as (given, _):
        given.start()
        api_users.put(given.server, model(routing={"mode": "Service"}))
        seen = Seen(given.server)
        await becomes(lambda: seen.ready)

        given.server.faults.refuse("merge", "*/services/llama", api_faults.forbidden())
        api_users.merge(given.server, model(), {"spec": {"routing": {"mode": "Takeover"}}})

        await becomes(lambda: seen.condition("ServiceTaken") == ("False", "APIRefused"))
        assert not seen.taken
        given.server.faults.clear()
        await becomes(lambda: seen.condition("ServiceTaken") == ("True", "ServiceTaken"))


async def test_a_service_that_can_not_be_given_back_is_said_to_be_taken_still() -> None:
    async with serving() as (given, _):
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await becomes(lambda: seen.ready)

        given.server.faults.refuse("merge", "*/services/llama", api_faults.forbidden())
        api_users.merge(given.server, model(), {"spec": {"enabled": False}})

        await becomes(lambda: seen.condition("ServiceTaken") == ("True", "APIRefused"))
        assert gateway_pods(given.server)
        given.server.faults.clear()
        await becomes(lambda: not seen.taken)
        await becomes(lambda: not gateway_pods(given.server))


async def test_a_service_that_could_never_select_a_gateway_is_refused_and_mode_service_serves_it() -> None:
    """It stayed at GatewayStarting for ever, beside a gateway that was ready."""
    async with serving() as (given, _):
        await becomes(lambda: given.server.all("pods", "models"))
        labels = given.server.all("pods", "models")[0]["metadata"]["labels"]
        label = {"pod-template-hash": labels["pod-template-hash"]}
        api_users.merge(given.server, service(), {"spec": {"selector": label}})
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)

        await becomes(lambda: seen.condition("Ready") == ("False", "ServiceUnsuitable"))

        assert "pod-template-hash" in seen.message("Ready")
        assert ("Warning", "ServiceUnsuitable") in seen.events
        assert not gateway_pods(given.server)
        api_users.merge(given.server, model(), {"spec": {"routing": {"mode": "Service"}}})
        await becomes(lambda: seen.ready)


async def test_a_label_that_a_webhook_overwrites_on_gateway_pods_is_named() -> None:
    async with serving() as (given, _):
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)
        for _ in range(1200):
            for pod in gateway_pods(given.server):
                if pod["metadata"]["labels"]["app"] != "theirs":
                    api_users.merge(given.server, pod, {"metadata": {"labels": {"app": "theirs"}}})
            await asyncio.sleep(0.05)

        assert seen.condition("Ready") == ("False", "GatewayStarting")
        assert "does not have the label app=beamlit-gateway-" in seen.message("Ready")
        assert "routing.mode: Service" in seen.message("Ready")


MANY_NAMES = {f"{number}{'é' * 1_000}": "x" for number in range(100)}


async def served(given: World, seen: Seen) -> None:
    given.start()
    api_users.put(given.server, model())
    await becomes(lambda: seen.ready)


async def oversize(given: World, seen: Seen) -> None:
    """Change the model's spec so that no ConfigMap holds its files."""
    config = model()["spec"]["offloadingConfig"]
    config["remoteBackend"]["modelNames"] = MANY_NAMES
    api_users.merge(given.server, model(), {"spec": {"offloadingConfig": config}})
    await becomes(lambda: seen.condition("Ready") == ("False", "SpecInvalid"))


async def test_files_that_no_config_map_holds_are_the_condition_of_the_model_and_the_gateway_keeps_its_own() -> None:
    """The API server refused two megabytes every 30 s, with a message about neither the model nor its fields."""
    async with serving() as (given, _):
        seen = Seen(given.server)
        await served(given, seen)
        before = given.server.find("v1", "ConfigMap", "models", "llama-gateway")

        await oversize(given, seen)

        assert "a ConfigMap holds 1,048,576: use fewer or shorter modelNames" in seen.message("Ready")
        assert given.server.find("v1", "ConfigMap", "models", "llama-gateway") == before
        assert gateway_pods(given.server)


async def test_with_files_that_no_config_map_holds_a_failed_gateway_loses_its_service_as_soon_as_otherwise() -> None:
    """The next pass was due after 300 s, whatever was to be done about the Service."""
    async with serving() as (given, controllers):
        seen = Seen(given.server)
        await served(given, seen)
        await oversize(given, seen)

        controllers.is_ready = lambda pod: "-gateway-" not in pod["metadata"]["name"]
        controllers.look()

        await becomes(lambda: not seen.taken, within=12)
        assert seen.condition("Ready") == ("False", "SpecInvalid")


async def test_with_files_that_no_config_map_holds_a_service_is_taken_over_again_and_its_pods_are_followed() -> None:
    """It was left alone, with ServiceTaken at True; an edited selector selected no pod at all."""
    async with serving() as (given, _):
        seen = Seen(given.server)
        await served(given, seen)
        await oversize(given, seen)

        api_users.merge(given.server, service(), {"spec": {"selector": {"app": "llama"}}})
        await becomes(lambda: seen.taken, within=5)
        await becomes(lambda: seen.condition("ServiceTaken") == ("True", "ServiceTaken"))

        api_users.merge(given.server, service(), {"spec": {"selector": {"app": "other"}}})
        await becomes(lambda: seen.taken, within=5)
        local = given.server.find("v1", "Service", "models", "llama-local")
        assert local is not None
        assert local["spec"]["selector"] == {"app": "other"}


async def test_while_an_object_is_refused_a_service_is_taken_over_again_and_restored_as_soon_as_otherwise() -> None:
    """It was restored with the next retry, up to half a minute later, and never taken over again."""
    async with serving() as (given, controllers):
        seen = Seen(given.server)
        await served(given, seen)
        given.server.faults.refuse("apply", "*/configmaps/*", api_faults.forbidden())
        config = model()["spec"]["offloadingConfig"]
        config["remoteBackend"]["modelNames"] = {"llama": "x"}
        api_users.merge(given.server, model(), {"spec": {"offloadingConfig": config}})
        await becomes(lambda: seen.condition("Ready") == ("False", "APIRefused"))
        api_users.merge(given.server, service(), {"spec": {"selector": {"app": "llama"}}})
        await becomes(lambda: seen.taken, within=5)
        await asyncio.sleep(600)

        controllers.is_ready = lambda pod: "-gateway-" not in pod["metadata"]["name"]
        controllers.look()

        await becomes(lambda: not seen.taken, within=12)


async def test_what_is_refused_is_tried_again_ever_more_rarely_while_rounds_go_on() -> None:
    async with serving() as (given, _):
        given.server.faults.refuse("apply", "*/configmaps/*", api_faults.forbidden())
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await becomes(lambda: seen.condition("Ready") == ("False", "APIRefused"))
        began = asyncio.get_running_loop().time()

        await asyncio.sleep(600)

        tries = [each for each in given.server.writes(since=began) if "configmaps" in each.asked.path]
        assert 15 <= len(tries) <= 40
        given.metrics.default = 14
        await becomes(lambda: seen.percentage == 50, within=10)


async def test_a_model_that_is_refused_from_the_start_hears_why() -> None:
    async with serving(allowed_remote_hosts=("*.ok.example",)) as (given, _):
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)

        await becomes(lambda: seen.condition("Ready") == ("False", "SpecInvalid"))

        assert "remoteBackend.host" in seen.message("Ready")
        assert "there is no earlier one" in seen.message("Ready")
        assert ("Warning", "SpecInvalid") in seen.events
        assert not gateway_pods(given.server)


async def refused_spec(given: World, seen: Seen) -> None:
    """Have a model offload, and then its spec refused by what only the controller checks."""
    given.metrics.default = 14
    api_users.put(given.server, model())
    await becomes(lambda: seen.ready and seen.percentage == 50)
    wrong = {"spec": {"offloadingConfig": {"remoteBackend": {"host": "evil.example"}, "behavior": {"percentage": 90}}}}
    api_users.merge(given.server, model(), wrong)
    await becomes(lambda: seen.condition("Ready") == ("False", "SpecInvalid"))


ALLOWED = ("api.example.com",)


async def test_the_last_good_spec_stays_in_force_after_the_controller_was_started_anew() -> None:
    async with serving(allowed_remote_hosts=ALLOWED) as (given, _):
        first, seen = given.start(), Seen(given.server)
        await refused_spec(given, seen)
        assert "the last good one stays in force" in seen.message("Ready")
        await first.end()

        given.start("two")
        await asyncio.sleep(30)

        assert "the last good one stays in force" in seen.message("Ready")
        assert seen.percentage == 50
        given.metrics.default = 1
        await becomes(lambda: seen.percentage == 0, within=600)
        assert "evil.example" not in str(given.server.all("configmaps", "models"))


async def test_a_last_good_spec_that_somebody_else_put_there_counts_for_nothing() -> None:
    async with serving(allowed_remote_hosts=ALLOWED) as (given, _):
        first, seen = given.start(), Seen(given.server)
        await refused_spec(given, seen)
        await first.end()
        config = given.server.find("v1", "ConfigMap", "models", "llama-gateway")
        assert config is not None
        for text in ("[" * 100_000, '{"spec": 1, "generation": 1}', "null", '{"spec": {}, "generation": "x"}'):
            api_users.merge(given.server, config, {"data": {"last-good-spec.json": text}})
            replica = given.start("two")

            await becomes(lambda: "there is no earlier one" in seen.message("Ready"))

            assert seen.percentage == 50
            await replica.end()


async def test_a_mistyped_override_is_a_condition_and_nothing_else() -> None:
    async with serving() as (given, _):
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await becomes(lambda: seen.ready)

        api_users.merge(
            given.server, model(), {"metadata": {"annotations": {"offloading.beamlit.com/override": "150"}}}
        )

        await becomes(lambda: seen.condition("OverrideValid") == ("False", "OverrideInvalid"))
        assert seen.ready
        assert ("Warning", "OverrideInvalid") in seen.events
        given.metrics.default = 14
        await becomes(lambda: seen.percentage == 50)
        api_users.merge(given.server, model(), {"metadata": {"annotations": {"offloading.beamlit.com/override": "15"}}})
        await becomes(lambda: seen.percentage == 15)
        assert seen.condition("OverrideValid") == ("", "")


async def test_a_second_model_on_a_service_offloads_nothing_and_runs_no_gateway_until_it_is_its_turn() -> None:
    async with serving() as (given, _):
        given.metrics.default = 14
        given.start()
        api_users.put(given.server, model())
        first, second = Seen(given.server), Seen(given.server, "second")
        await becomes(lambda: first.ready)
        await asyncio.sleep(2)
        other = model("second", serviceRef={"name": "llama", "targetPort": 8000})

        api_users.put(given.server, other)
        await becomes(lambda: second.condition("Ready") == ("False", "ServiceHeld"))
        await asyncio.sleep(60)

        assert second.percentage == 0
        assert second.condition("Offloading") == ("False", "ServiceHeld")
        assert second.condition("GatewayReady") == ("False", "ServiceHeld")
        assert not [each for each in gateway_pods(given.server) if each["metadata"]["name"].startswith("second")]
        assert not [
            each for each in given.server.all("deployments.apps", "models") if "second" in str(each["metadata"])
        ]
        assert not [each for each in second.events if each[1] == "MetricAboveTarget"]
        api_users.delete(given.server, model())
        await becomes(lambda: second.ready and second.percentage == 50, within=300)
        assert first.taken


async def test_one_slow_status_write_delays_no_other_model() -> None:
    async with serving() as (given, _):
        for each in (workload("other"), service("other"), model(), model("other")):
            api_users.put(given.server, each)
        given.start()
        one, other = Seen(given.server), Seen(given.server, "other")
        await becomes(lambda: one.ready and other.ready)

        given.server.faults.hang("apply", "*/modeldeployments/llama/status")
        given.metrics.default = 14
        began = asyncio.get_running_loop().time()

        await becomes(lambda: other.percentage == 50)
        assert asyncio.get_running_loop().time() - began < 8  # one period
        assert one.percentage == 0
        given.server.faults.clear()
        await becomes(lambda: one.percentage == 50)


async def test_a_status_that_was_refused_is_written_again_without_any_other_news() -> None:
    async with serving(allowed_remote_hosts=("*.ok.example",)) as (given, _):
        given.server.faults.refuse("apply", "*/status", api_faults.broken(), times=3)
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)

        await becomes(lambda: seen.condition("Ready") == ("False", "SpecInvalid"))


async def test_an_annotation_on_one_model_wakes_that_one_only() -> None:
    async with serving(period=timedelta(hours=1)) as (given, _):  # rounds are changes of their own
        names = [f"m{number}" for number in range(8)]
        for name in names:
            for each in (service(name), model(name, routing={"mode": "Service"})):
                api_users.put(given.server, each)
        replica = given.start()
        await asyncio.sleep(30)
        snapshots: list[str] = []
        take = replica.parts.store.snapshot

        def taken(key: ModelKey) -> Any:  # noqa: ANN401 - what a snapshot is
            snapshots.append(key.name)
            return take(key)

        replica.parts.store.snapshot = taken
        api_users.merge(given.server, model("m3"), {"metadata": {"annotations": {"x": "y"}}})
        await becomes(lambda: "m3" in snapshots, within=1)

        assert set(snapshots) == {"m3"}


async def test_what_goes_wrong_with_one_model_is_its_condition_and_no_other_notices() -> None:
    async with serving() as (given, _):
        for each in (workload("other"), service("other")):
            api_users.put(given.server, each)
        replica = given.start()
        files = replica.parts.reconciler._gateway._rendering._renderer  # noqa: SLF001 - the one that is broken here
        render = files.render

        def broken(spec: Any, plan: Any) -> Any:  # noqa: ANN401 - as the real one
            if spec.key.name == "llama":
                raise RecursionError("too deep")
            return render(spec, plan)

        files.render = broken
        for each in (model(), model("other")):
            api_users.put(given.server, each)
        one, other = Seen(given.server), Seen(given.server, "other")

        await becomes(lambda: one.condition("Ready") == ("False", "InternalError"))
        await becomes(lambda: other.ready)

        assert "too deep" in one.message("Ready")
        assert replica.parts.reconciler.failures["InternalError"]
        files.render = render
        await becomes(lambda: one.ready)


async def test_a_model_that_can_not_even_be_looked_at_keeps_no_other_from_being_served() -> None:
    async with serving() as (given, _):
        for each in (workload("other"), service("other")):
            api_users.put(given.server, each)
        replica = given.start()
        store = replica.parts.store
        look = store.snapshot

        def broken(key: ModelKey) -> Any:  # noqa: ANN401 - as the real one
            if key.name == "llama":
                raise RecursionError("too deep")
            return look(key)

        for each in (model(), model("other")):
            api_users.put(given.server, each)
        one, other = Seen(given.server), Seen(given.server, "other")
        await becomes(lambda: one.ready and other.ready)

        store.snapshot = broken  # type: ignore[method-assign]
        store.changes.publish(ModelKey("models", "llama"))

        await becomes(lambda: replica.parts.reconciler.failures["InternalError"])
        api_users.merge(given.server, model("other"), {"spec": {"enabled": False}})
        await becomes(lambda: other.condition("Ready") == ("True", "Disabled"))


async def test_in_ten_quiet_minutes_nothing_is_written() -> None:
    async with serving() as (given, _):
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await becomes(lambda: seen.ready)
        await asyncio.sleep(60)
        began = asyncio.get_running_loop().time()

        await asyncio.sleep(600)

        assert [each.line for each in given.server.writes(since=began)] == []


async def test_a_new_leader_writes_nothing_where_all_is_as_it_should_be() -> None:
    async with serving() as (given, _):
        first = given.start()
        api_users.put(given.server, model(gateway={"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}}))
        seen = Seen(given.server)
        await becomes(lambda: seen.ready)
        await asyncio.sleep(60)
        await first.end()
        began = asyncio.get_running_loop().time()

        given.start("two")
        await asyncio.sleep(900)  # twice longer than any list lasts

        assert [each.line for each in given.server.writes(since=began)] == []
        assert seen.ready


async def test_a_model_that_is_created_anew_under_its_name_gets_a_gateway_of_its_own() -> None:
    async with serving() as (given, _):
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await becomes(lambda: seen.ready)
        before = dict(seen.selector)

        api_users.delete(given.server, model())
        await becomes(lambda: not seen.object)
        api_users.put(given.server, model())

        await becomes(lambda: seen.ready)
        assert seen.selector != before


async def test_a_deleted_model_gives_its_service_back_and_goes() -> None:
    async with serving() as (given, _):
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await becomes(lambda: seen.ready)

        api_users.delete(given.server, model())

        await becomes(lambda: not seen.object)
        assert seen.selector == {"app": "llama"}
        await becomes(lambda: not gateway_pods(given.server))


async def test_a_model_that_was_never_valid_can_be_deleted() -> None:
    async with serving(allowed_remote_hosts=("*.ok.example",)) as (given, _):
        given.start()
        held = {"finalizers": ["deployment.beamlit.com/give-back"]}
        api_users.put(given.server, model(about=held))
        seen = Seen(given.server)
        await becomes(lambda: seen.condition("Ready") == ("False", "SpecInvalid"))

        api_users.delete(given.server, model())

        await becomes(lambda: not seen.object)


async def test_a_service_whose_model_is_gone_is_given_back_and_a_hostile_one_holds_up_no_other() -> None:
    async with serving() as (given, _):
        for name, original in (("llama", '{"app": "llama"}'), ("a", '{"bad key!!": "x"}')):
            stray = service(name)
            key = "app" if name == "llama" else "bad key!!"
            stray["spec"]["selector"] = {key: "beamlit-gateway-0000000000000001"}
            notes = {service_patches.ORIGINAL: original, service_patches.TAKEN_BY: "ghost"}
            api_users.put(given.server, {**stray, "metadata": {**stray["metadata"], "annotations": notes}})
        given.server.faults.refuse("merge", "*/services/a", api_faults.broken())

        given.start()

        await becomes(lambda: Seen(given.server).selector == {"app": "llama"})


async def test_of_two_replicas_one_decides_and_both_tell_the_gateways_the_same() -> None:
    async with serving(enable_leader_election=True) as (given, _):
        given.metrics.default = 14
        one, two = given.start("one"), given.start("two")
        api_users.put(given.server, model())
        seen = Seen(given.server)

        await becomes(lambda: seen.ready and seen.percentage == 50)

        await becomes(lambda: one.percentage("llama") == two.percentage("llama") == 50)
        leaders = {each.asked.client for each in given.server.writes() if "status" in each.asked.path}
        assert len(leaders) == 1


async def test_a_leader_that_is_cut_off_is_followed_by_one_that_goes_on() -> None:
    async with serving(enable_leader_election=True) as (given, _):
        given.metrics.default = 14
        given.start("one")
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await becomes(lambda: seen.ready and seen.percentage == 50)
        since = seen.status["offloading"]["since"]

        given.server.cut_off.add("one")
        given.start("two")
        given.metrics.default = 1

        await becomes(lambda: seen.percentage == 0, within=600)
        assert seen.status["offloading"]["since"] > since
        began = asyncio.get_running_loop().time()
        given.server.cut_off.clear()
        await asyncio.sleep(60)
        assert {each.asked.client for each in given.server.writes(since=began) if "leases" not in each.asked.path} <= {
            "two"
        }


async def test_what_keeps_clients_from_the_gateway_is_said_where_people_look() -> None:
    async with serving() as (given, _):
        given.gateways.reach = False
        replica = given.start()
        shown = replica.parts.web.sinks[1]
        assert isinstance(shown, ModelsSink)
        asked = model()
        asked["metadata"]["annotations"] = {"offloading.beamlit.com/override": "half"}
        api_users.put(given.server, asked)

        await becomes(lambda: Seen(given.server).condition("Ready") == ("False", "PodsNotReached"))

        told = models.view(shown.snapshot())
        headline = told.models[0].headline
        assert headline is not None
        assert (headline.state, headline.why.partition(":")[0]) == ("Bypassed, all local", "PodsNotReached")
        assert headline.effect == "clients reach the local pods directly, and nothing is offloaded"
        (problem,) = told.problems
        assert problem.where == "models/llama"
        assert 'got "half"' in problem.message


async def test_a_model_that_waits_for_a_service_of_another_is_no_secret() -> None:
    async with serving() as (given, _):
        replica = given.start()
        shown = replica.parts.web.sinks[1]
        assert isinstance(shown, ModelsSink)
        api_users.put(given.server, model())
        await becomes(lambda: Seen(given.server).ready)

        api_users.put(given.server, model("second", serviceRef={"name": "llama", "targetPort": 8000}))
        await becomes(lambda: Seen(given.server, "second").condition("Ready") == ("False", "ServiceHeld"))

        (problem,) = models.view(shown.snapshot()).problems
        assert (problem.where, problem.field) == ("models/second", "spec.serviceRef")
        assert "ModelDeployment llama, which is older" in problem.message
