"""The relay into the node's network: what it says of a connection that failed."""

import errno
from datetime import UTC, datetime

from kube import relay


def test_a_connection_that_failed_is_told_with_its_time_its_port_and_its_errno() -> None:
    error = OSError(errno.EHOSTUNREACH, "Connect call failed")

    said = relay.failed(datetime(2026, 6, 1, 12, 0, 0, 250_000, UTC), 40_123, "10.96.0.7:80", error)

    assert said == (
        "2026-06-01T12:00:00.250+00:00 client port 40123, no connection to 10.96.0.7:80: "
        "EHOSTUNREACH [Errno 113] Connect call failed"
    )
