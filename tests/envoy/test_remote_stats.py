"""What is read of a gateway's figures."""

from beamlit_controller.core.remote_health import Attempts
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

    assert attempts == Attempts((("answered", 200, 12), ("client-gone", 0, 1), ("tls-expired", 503, 3)), servers=1)


def test_reads_nothing_where_nothing_was_counted() -> None:
    assert remote_stats.attempts("") == Attempts()
