"""A model's policy as sentences."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from beamlit_controller.api import policy_text
from beamlit_controller.core.spec import (
    Behavior,
    Mode,
    OffloadSpec,
    OnMetricsLoss,
    OnRemoteFailure,
    Overflow,
    Ramp,
    RemoteBackend,
    Scheme,
)
from beamlit_controller.core.stickiness import CookieStickiness, HeaderStickiness
from builders import QUEUE, RUNNING, spec

REMOTE = RemoteBackend(Scheme.HTTPS, "api.example.com", 443)
QUIET = Overflow(on_unavailable=False)
LLAMA = spec(remote=REMOTE, behavior=Behavior(percentage=50), overflow=QUIET, on_remote_failure=OnRemoteFailure.FAIL)
SECOND = timedelta(seconds=1)


def behaving(**changes: object) -> OffloadSpec:
    return replace(LLAMA, behavior=replace(LLAMA.behavior, **changes))


def test_a_plain_model_says_when_how_much_and_when_not_any_more() -> None:
    assert policy_text.sentences(LLAMA) == (
        "Offload 50 % of the requests when queue is above 10.",
        "Take them back when demand stays at 90% of the target or less for 60 s.",
        "While no metric can be read, keep the share as it is.",
        "A request that fails at the remote is answered with that failure.",
    )


def test_a_model_in_adaptive_mode_says_what_fits_and_nothing_of_a_release() -> None:
    assert policy_text.sentences(behaving(mode=Mode.ADAPTIVE)) == (
        "Offload the requests above local's capacity, at most 50 % of all, when queue is above 10.",
        (
            "The capacity is learned from the metric; every request within it stays local. "
            "Above 50 % of all requests, the rest stay local and wait."
        ),
        "While no metric can be read, keep the cap as it is.",
        "A request that fails at the remote is answered with that failure.",
    )


@pytest.mark.parametrize(
    ("whole", "sentence"),
    [
        (replace(LLAMA, enabled=False), "The model is disabled: all requests are served locally."),
        (replace(LLAMA, remote=None), "There is no remote backend: all requests are served locally."),
        (replace(LLAMA, metrics=()), "No metric is given, so no percentage is offloaded."),
        (behaving(percentage=0), "The metrics cause no offloading: behavior.percentage is 0."),
        (behaving(dry_run=True), "Dry run: decisions are made and shown, but nothing is sent to the remote."),
        (
            replace(behaving(mode=Mode.PROPORTIONAL), metrics=(QUEUE, RUNNING)),
            (
                "Offload the share that keeps the metric at its target, 50 % at most, when queue is above 10 "
                "or vllm:num_requests_running is above 10 per replica."
            ),
        ),
        (
            behaving(engage=Ramp(30 * SECOND, Decimal("0.1"), 20, 15 * SECOND)),
            "Offload 50 % of the requests, in steps of 20 %, when queue is above 110% of 10 for 30 s.",
        ),
        (
            behaving(on_metrics_loss=OnMetricsLoss.RELEASE),
            "When no metric can be read for 60 s, serve everything locally.",
        ),
        (behaving(on_metrics_loss=OnMetricsLoss.OFFLOAD), "When no metric can be read for 60 s, offload."),
        (
            replace(LLAMA, overflow=replace(QUIET, max_in_flight_per_replica=4)),
            "Serve at most 4 requests at once per local replica; excess requests go to the remote.",
        ),
        (
            replace(LLAMA, overflow=replace(QUIET, on_status=(429, 503))),
            "A request that local servers answer with 429 or 503 goes to the remote.",
        ),
        (
            replace(LLAMA, overflow=replace(QUIET, after=5 * SECOND)),
            "A request that local servers have not begun to answer after 5 s goes to the remote.",
        ),
        (replace(LLAMA, overflow=Overflow()), "A request that no local server accepts goes to the remote."),
        (
            replace(LLAMA, remote=replace(REMOTE, max_in_flight=8)),
            "Send at most 8 requests at once to the remote per gateway.",
        ),
        (
            replace(LLAMA, on_remote_failure=OnRemoteFailure.LOCAL),
            "A request that fails at the remote is served locally.",
        ),
        (
            replace(LLAMA, stickiness=CookieStickiness("chat")),
            "Requests with the same cookie chat stay on the same side.",
        ),
        (
            replace(LLAMA, stickiness=HeaderStickiness("x-chat")),
            "Requests with the same header x-chat stay on the same side.",
        ),
        (replace(LLAMA, allow_override=True), "Clients may choose the side with the header x-offload."),
    ],
)
def test_whatever_else_was_asked_for_is_a_sentence(whole: OffloadSpec, sentence: str) -> None:
    assert sentence in policy_text.sentences(whole)


def test_remotes_that_share_requests_are_told_with_their_weights() -> None:
    """It also said that requests go to the first one that can serve them."""
    first, second = (replace(REMOTE, name=name, weight=weight) for name, weight in (("one", 3), ("two", 1)))
    last = replace(REMOTE, name="three")

    told = list(policy_text.sentences(replace(LLAMA, remote=first, next_remotes=(second, last))))

    order = [each for each in told if "weight" in each or "first of" in each]
    assert order == [
        "Offloaded requests go to one (weight 3) and two (weight 1), then to three; a request that one fails goes to another."
    ]
