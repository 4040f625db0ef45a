"""What a gateway has in force, as its page of stats says it."""

import pytest

from beamlit_controller.core.gateway_config import UNKNOWN, ConfigInForce
from beamlit_controller.envoy import config_stats

PAGE = """\
envoy_cluster_manager_cds_update_rejected{} 0
envoy_http_rds_update_rejected{envoy_rds_route_config="front",envoy_http_conn_manager_prefix="front"} 2
envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix="remote_hop_84798ef2598c"} 3
envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix="remote_hop_000000000000"} 0
envoy_cluster_manager_warming_clusters{} 1
envoy_listener_manager_total_listeners_warming{} 0
envoy_cluster_manager_cds_version_text{text_value="7ea36c7eb981f0e1"} 0
envoy_http_rds_version_text{envoy_rds_route_config="front",envoy_http_conn_manager_prefix="front",text_value="e557f369a1b5e5cd"} 0
"""


def test_versions_refusals_warming_and_requests_are_read() -> None:
    read = config_stats.read(PAGE)

    assert read == ConfigInForce(
        versions=(("cds.json", "7ea36c7eb981f0e1"), ("rds-front.json", "e557f369a1b5e5cd")),
        refused=("rds-front.json",),
        warming=True,
        busy=frozenset({"84798ef2598c"}),
    )


@pytest.mark.parametrize(
    "page", ["", "nonsense", "envoy_cluster_manager_cds_version_text{} 0 0", PAGE[:30], "{" * 2_000_000]
)
def test_what_is_no_page_says_nothing(page: str) -> None:
    assert config_stats.read(page) in {UNKNOWN, ConfigInForce((("cds.json", ""),))}


def test_a_file_without_its_version_is_missing() -> None:
    files = {
        "bootstrap.json": "{}",
        "cds.json": '{"version_info": "7ea36c7eb981f0e1"}',
        "lds.json": '{"version_info": "a"}',
    }

    assert config_stats.missing(files, config_stats.read(PAGE)) == ("lds.json",)
