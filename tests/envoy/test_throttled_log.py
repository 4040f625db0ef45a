"""What strangers can cause in the log."""

import structlog

from beamlit_controller.envoy.throttled_log import ThrottledLog


def test_a_kind_of_warning_is_logged_once_a_minute_with_how_many_there_were() -> None:
    now = [0.0]
    seldom = ThrottledLog(clock=lambda: now[0])

    with structlog.testing.capture_logs() as logs:
        for at in (0, 1, 59, 60, 61):
            now[0] = at
            seldom.warn("turned away", model="m" * 1000)
            seldom.warn("refused")

    assert [each["not_logged_before"] for each in logs if each["event"] == "turned away"] == [0, 2]
    assert [each["event"] for each in logs] == ["turned away", "refused"] * 2
    assert max(len(each.get("model", "")) for each in logs) == 100
