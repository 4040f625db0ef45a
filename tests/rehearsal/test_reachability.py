"""What `check --prometheus` asks, and what it makes of the answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import builders
from beamlit_controller.api.settings import PrometheusSettings
from beamlit_controller.prometheus.source import Span
from beamlit_controller.rehearsal import reachability
from beamlit_controller.rehearsal.reachability import Findings
from fakes import http

UNTIL = datetime(2026, 6, 1, 12, tzinfo=UTC)
SPAN = Span(UNTIL - timedelta(hours=1), UNTIL, timedelta(minutes=1))
INFO = 'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "queue" (1:6)'


async def look(*values: str, **more: Any) -> Findings:  # noqa: ANN401 - what a server may add to its answer
    """Look at a metric `queue` with these series, each with one value all the time."""
    times = [at.timestamp() for at in SPAN.times]
    series = [{"metric": {"pod": f"p{i}"}, "values": [[at, value] for at in times]} for i, value in enumerate(values)]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": series}, **more}
    async with http.serve(http.json(answer)) as server:
        return await reachability.look(builders.spec(), PrometheusSettings(f"http://{server.address}"), SPAN)


async def test_several_series_are_counted() -> None:
    found = await look("4", "5", "6")

    (notice,) = found.notices
    assert not found.mistakes
    assert notice.field == "spec.offloadingConfig.metrics[0]"
    assert notice.message.startswith("3 series of queue are added up")


async def test_one_series_is_nothing_to_tell() -> None:
    assert await look("15") == Findings()


async def test_a_note_of_level_info_among_the_warnings_stops_nothing() -> None:
    assert await look("15", warnings=[INFO]) == Findings()


async def test_an_answer_in_part_is_told_and_not_judged_by() -> None:
    found = await look("15", isPartial=True)

    (mistake,) = found.mistakes
    assert "may be incomplete" in mistake.message
