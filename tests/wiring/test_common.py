"""What both modes do with the settings of Prometheus when they start."""

from contextlib import AsyncExitStack

from structlog.testing import capture_logs

from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.settings import Settings
from beamlit_controller.wiring import common


async def test_a_prometheus_that_is_not_used_is_logged_at_the_start() -> None:
    settings = api_settings.parse("config: {metricInformer: {prometheus: {address: 'my-local-prom:9090'}}}")
    assert isinstance(settings, Settings)

    with capture_logs() as logs:
        async with AsyncExitStack() as resources:
            source = await common.prometheus_source(settings, resources)

    assert source is None
    (logged,) = logs
    assert (logged["log_level"], logged["event"]) == ("warning", "setting without effect")
    assert logged["setting"] == "config.metricInformer.prometheus"
