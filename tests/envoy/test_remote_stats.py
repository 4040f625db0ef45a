"""What is read of a gateway's figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core.remote_health import Attempts
from beamlit_controller.core.traffic import RequestCounters
from beamlit_controller.envoy import remote_stats

PAGE = """\
# TYPE envoy_cluster_membership_total gauge
envoy_cluster_membership_total{envoy_cluster_name="local"} 4
envoy_cluster_membership_total{envoy_cluster_name="remote"} 1
# TYPE envoy_offload_remote_attempts counter
envoy_offload_remote_attempts{code="200",result="answered"} 12
envoy_offload_remote_attempts{result="tls-expired",code="503"} 3
envoy_offload_remote_attempts{code="-",result="client-gone"} 1
"""


def test_reads_attempts_and_how_many_servers_there_are() -> None:
    attempts = remote_stats.attempts(PAGE)

    assert attempts[""] == Attempts((("answered", 200, 12), ("client-gone", 0, 1), ("tls-expired", 503, 3)), servers=1)


def test_reads_nothing_where_nothing_was_counted() -> None:
    assert remote_stats.attempts("") == {}


def test_every_result_that_gateways_count_is_known() -> None:
    assert {"answered", "client-gone", "no-server", "tls", "tls-untrusted", "credential", "full", "reset"} <= (
        remote_stats.RESULTS
    )


SEVERAL = """\
envoy_cluster_membership_total{envoy_cluster_name="remote-one"} 1
envoy_cluster_membership_total{envoy_cluster_name="remote-two"} 0
envoy_cluster_membership_total{envoy_cluster_name="remote_upgrade-one"} 7
envoy_offload_remote_attempts{code="429",result="answered",remote="one"} 3
envoy_offload_remote_attempts{code="503",result="no-server",remote="two"} 4
"""


def test_reads_the_attempts_at_each_remote_by_its_name() -> None:
    assert remote_stats.attempts(SEVERAL) == {
        "one": Attempts((("answered", 429, 3),), servers=1),
        "two": Attempts((("no-server", 503, 4),), servers=0),
    }


def test_any_number_of_names_on_a_page_is_bounded() -> None:
    page = "".join(
        f'envoy_offload_remote_attempts{{code="200",result="answered",remote="r{n}"}} 1\n'
        f'envoy_cluster_membership_total{{envoy_cluster_name="remote-g{n}"}} 1\n'
        for n in range(20_000)
    )

    assert len(remote_stats.attempts(page)) <= 2 * remote_stats.MOST_SERIES


HOSTILE = [
    'envoy_offload_remote_attempts{code="200",result="answered",remote="' + "a" * 64 + '"} 1',
    'envoy_offload_remote_attempts{code="200",result="answered",remote="Ä"} 1',
    'envoy_offload_remote_attempts{code="²",result="answered"} 1',
    'envoy_offload_remote_attempts{code="200",result="answered"} ' + "9" * 5000,
    'envoy_offload_remote_attempts{code="200",result="answered"} ٣',
    'envoy_offload_remote_attempts{code="999",result="whatever"} 3',
    'envoy_offload_remote_attempts{code="' + "2" * 5000 + '",result="answered"} 1',
    "envoy_offload_remote_attempts{" + 'a="b",' * 10_000 + "} 1",
    'envoy_cluster_membership_total{envoy_cluster_name="remote"} ' + "9" * 5000,
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_line_that_no_gateway_of_ours_writes_spoils_none_of_the_others(line: str) -> None:
    """A gateway's image is its user's choice, and one line such as these ended the controller."""
    attempts = remote_stats.attempts(f"{line}\n{PAGE}")[""]

    assert attempts.servers == 1
    assert {(result, code) for result, code, _ in attempts.counts} <= {
        ("answered", 0),
        ("answered", 200),
        ("client-gone", 0),
        ("tls-expired", 503),
    }


@given(st.text(max_size=2000) | st.lists(st.sampled_from([*HOSTILE, *PAGE.splitlines()]), max_size=20).map("\n".join))
def test_no_page_raises_and_what_is_read_is_bounded(page: str) -> None:
    counts = [each for attempts in remote_stats.attempts(page).values() for each in attempts.counts]

    assert all(0 <= code < 600 and result in remote_stats.RESULTS for result, code, _ in counts)


def test_of_a_page_of_any_number_of_series_only_so_many_are_kept() -> None:
    page = "".join(f'envoy_offload_remote_attempts{{code="200",result="x{n}"}} 1\n' for n in range(50_000)) + PAGE

    assert sum(len(each.counts) for each in remote_stats.attempts(page).values()) <= remote_stats.MOST_SERIES


TRAFFIC = """\
envoy_cluster_upstream_rq_active{envoy_cluster_name="local"} 3
envoy_cluster_upstream_rq_active{envoy_cluster_name="remote"} 70
envoy_cluster_upstream_rq_pending_active{envoy_cluster_name="local"} 1
envoy_cluster_upstream_rq_active{envoy_cluster_name="local_anyway"} 5
envoy_cluster_upstream_rq_pending_active{envoy_cluster_name="local_anyway"} 2
envoy_offload_requests{chain="local_first",code="200",route="local",side="local"} 10
envoy_offload_requests{chain="local_only",code="200",route="keep",side="local"} 2
envoy_offload_requests{chain="remote_first",code="200",route="share",side="remote"} 5
envoy_offload_requests{chain="remote_first",code="200",route="local",side="remote"} 7
envoy_offload_requests{chain="local_first",code="200",route="local",side="remote"} 4
envoy_offload_requests{chain="remote_first",code="200",route="forced",side="remote"} 1
envoy_offload_requests{chain="local_first",code="503",route="local",side="none"} 4
envoy_offload_requests{chain="local_only",code="503",route="keep",side="none"} 1
envoy_offload_requests{chain="remote_first",code="429",route="share",side="none"} 1
envoy_offload_requests{chain="-",code="503",route="-",side="-"} 2
envoy_offload_requests{chain="-",code="400",route="-",side="none"} 20
envoy_offload_requests{chain="local_first",code="408",route="local",side="none"} 30
envoy_offload_requests{chain="-",code="0",route="local",side="-"} 40
envoy_offload_requests{chain="local_first",code="0",route="local",side="local"} 3
envoy_offload_first_byte_ms_bucket{side="local",le="0.5"} 0
envoy_offload_first_byte_ms_sum{side="local"} 1234.5258396123213060491252690554
envoy_offload_first_byte_ms_count{side="local"} 12
envoy_offload_first_body_ms_sum{side="local",route="local"} 9000.5258396123213060491252690554
envoy_offload_first_body_ms_count{side="local",route="local"} 10
envoy_offload_first_body_ms_sum{side="local",route="keep"} 4
envoy_offload_first_body_ms_count{side="local",route="keep"} 2
envoy_offload_first_body_ms_sum{side="none",route="share"} 50
envoy_offload_first_body_ms_count{side="none",route="share"} 5
envoy_offload_first_body_ms_sum{side="remote",route="share"} 700
envoy_offload_first_body_ms_count{side="remote",route="share"} 7
"""


def test_reads_which_side_answered_and_why_the_others_left() -> None:
    assert remote_stats.traffic(TRAFFIC) == RequestCounters(
        in_flight=11,
        local=15,
        kept=2,
        share=5,
        overflow=7,
        unavailable=4,
        forced=1,
        unanswered=8,
        local_first_bytes=10,
        local_first_byte_ms=9000,
        remote_first_bytes=7,
        remote_first_byte_ms=700,
    )


@given(st.text(max_size=2000) | st.lists(st.sampled_from(TRAFFIC.splitlines()), max_size=20).map("\n".join))
def test_no_page_raises_and_no_count_of_requests_is_below_zero(page: str) -> None:
    counted = remote_stats.traffic(page)

    assert counted.in_flight >= 0
    assert counted.remote >= 0


@pytest.mark.parametrize(
    "line",
    [
        'envoy_offload_requests{side="local"} ' + "9" * 5000,
        'envoy_offload_requests{side="local"} -3',
        'envoy_offload_requests{side="local"} NaN',
        'envoy_offload_first_body_ms_sum{side="local"} 1e400',
        'envoy_cluster_upstream_rq_active{envoy_cluster_name="local"} ' + "9" * 5000,
        "envoy_offload_requests{" + 'a="b",' * 10_000 + "} 1",
    ],
    ids=range(6),
)
def test_a_count_that_is_none_spoils_no_other(line: str) -> None:
    assert remote_stats.traffic(f"{line}\n{TRAFFIC}") == remote_stats.traffic(TRAFFIC)
