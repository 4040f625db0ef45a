"""A day of history in a real Prometheus, played through the code that decides."""

import asyncio
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.test_main import EXAMPLES
from fakes.commands import COMMAND
from fakes.prometheus import prometheus

pytestmark = [pytest.mark.system, pytest.mark.long]

STEP = 15
NIGHT, RUSH = 4, 16
HOLE = range(2000, 2400)
"""Steps that nothing was recorded in."""


def day(*, until: datetime) -> str:
    """Write a day of one series: quiet, two hours of rush, and a hole; and of the requests per second."""
    began = int((until - timedelta(days=1)).timestamp())
    steps = range(24 * 3600 // STEP + 1)
    queue = [
        f'my_custom_metric_in_prom{{my_label="value"}} {value(step)} {began + STEP * step}'
        for step in steps
        if step not in HOLE
    ]
    other = [f'my_custom_metric_in_prom{{my_label="other"}} 1000 {began + STEP * step}' for step in steps]
    rate = [f"served 10 {began + STEP * step}" for step in steps]
    return "\n".join(["# TYPE my_custom_metric_in_prom gauge", *queue, *other, "# TYPE served gauge", *rate, "# EOF\n"])


def value(step: int) -> float:
    rush = 2880 <= step < 2880 + 480
    return RUSH if rush else NIGHT + math.sin(step / 50)


async def simulated(*arguments: object) -> tuple[int, str, str]:
    return await ran("simulate", *arguments)


async def ran(*arguments: object) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *map(str, (COMMAND, *arguments)), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), errors.decode()


async def test_a_day_is_replayed_as_it_was(tmp_path: Path) -> None:
    until = datetime(2026, 6, 2, tzinfo=UTC)
    past = ("--since", "24h", "--until", "2026-06-02T00:00:00Z", "--rate", "served")
    manifest, page = EXAMPLES / "prometheus.yaml", tmp_path / "page.html"
    async with prometheus(history=day(until=until)) as server:
        asked = (manifest, "--prometheus", server.address, *past, "--output", "json", "--picture", page)
        code, out, errors = await simulated(*asked)
        unknown = manifest.read_text().replace("my_custom_metric_in_prom", "no_such_metric")
        (tmp_path / "unknown.yaml").write_text(unknown)
        nothing = await simulated(tmp_path / "unknown.yaml", "--prometheus", server.address, *past)
        queried = await simulated(
            EXAMPLES / "resource-cpu.yaml",
            "--prometheus",
            server.address,
            *past,
            "--output",
            "json",
            "--query",
            'cpu=my_custom_metric_in_prom{my_label="value"} * 10',
        )

    assert code == 0, errors
    done: dict[str, Any] = json.loads(out)
    alone, as_written, plain = done["courses"]
    assert (done["since"], done["until"]) == ("2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z")
    assert done["samples"] == 24 * 3600 // STEP + 1
    # A series counts for 90 s after its last sample, so the hole is that much shorter.
    assert done["incomplete"] * done["samples"] == len(HOLE) - 90 // STEP
    # For the same reason the rush is seen exactly as long as it was: its last sample is followed by another.
    assert alone["over"] == 480 * STEP
    # Of the hole ten samples count.
    counted = done["samples"] - (len(HOLE) - 90 // STEP) + 10
    assert alone["requests"] == 10 * STEP * counted
    first, *_, last = as_written["shares"]
    assert (first["at"], first["percentage"]) == ("2026-06-01T12:00:00Z", 50)
    assert last["percentage"] == 0
    assert "2026-06-01T14:00:00Z" < last["at"] < "2026-06-01T14:10:00Z"
    assert as_written["over"] < alone["over"] / 5
    assert plain["changes"] > 10 * as_written["changes"]
    assert "<svg" in page.read_text()

    assert nothing[0] == 1
    assert "there is no series for" in nothing[2]
    assert "no_such_metric" in nothing[2]
    assert queried[0] == 0, queried[2]
    assert json.loads(queried[1])["courses"][0]["over"] == 480 * STEP


def asking(text: str, query: str) -> str:
    content = yaml.safe_load(text)
    content["spec"]["offloadingConfig"]["metrics"][0]["external"]["metric"] = {"name": query}
    return yaml.safe_dump(content)


async def test_triggers_that_could_never_have_worked_are_told_before_anything_is_applied(tmp_path: Path) -> None:
    """The rush is 160 % of the target for two hours, and the history ends with it being over for long."""
    until = datetime.now(UTC).replace(microsecond=0)
    text = (EXAMPLES / "prometheus.yaml").read_text()
    patient = "percentage: 50\n      engage: {stabilizationWindowSeconds: 3600}"
    tried = {
        "as it is": text,
        "another name": text.replace("my_custom_metric_in_prom", "no_such_metric"),
        "another label": text.replace('my_label: "value"', 'my_label: "values"'),
        "too high": text.replace("value: 10", "value: 100"),
        "too patient": text.replace("percentage: 50", patient).replace("value: 10", "value: 4"),
        "no query": asking(text, "sum(up) limit 5"),
        "not closed": asking(text, "sum("),
    }
    said = {}
    async with prometheus(history=day(until=until)) as server:
        for name, content in tried.items():
            path = tmp_path / f"{name}.yaml"
            path.write_text(content)
            code, out, _ = await ran("check", path, "--prometheus", server.address, "--since", "1d")
            said[name] = (code, out.removeprefix(f"{path}: ").strip())

    metrics = "default/llama: spec.offloadingConfig.metrics"
    assert said["as it is"] == (0, "valid")
    assert said["another name"][0] == 1
    assert said["another name"][1].startswith(f"{metrics}[0]: never seen in 1 d: last_over_time(no_such_metric")
    assert said["another label"][0] == 1
    assert "the selector matches no series of my_custom_metric_in_prom, which has others" in said["another label"][1]
    assert said["too high"] == (
        0,
        f"note: {metrics}: the highest in 1 d was 16% of the target: nothing would have been offloaded",
    )
    assert said["no query"][0] == 1
    assert "Prometheus rejected the query (bad_data)" in said["no query"][1]
    assert said["not closed"][0] == 1
    assert "the ( at character 4 is not closed" in said["not closed"][1]
    assert said["too patient"] == (0, "valid")


async def test_a_metric_that_is_never_over_for_the_window_is_told(tmp_path: Path) -> None:
    """Around 4, by a wave of ten minutes."""
    text = (EXAMPLES / "prometheus.yaml").read_text()
    path = tmp_path / "patient.yaml"
    path.write_text(
        text.replace("percentage: 50", "percentage: 50\n      engage: {stabilizationWindowSeconds: 3600}").replace(
            "value: 10", "value: 4"
        )
    )
    until = datetime.now(UTC).replace(microsecond=0)
    calm = "\n".join(line for line in day(until=until).splitlines() if f" {RUSH} " not in line) + "\n"
    async with prometheus(history=calm) as server:
        code, out, _ = await ran("check", path, "--prometheus", server.address, "--since", "1d")

    assert code == 1
    assert "behavior.engage.stabilizationWindowSeconds: the highest in 1 d was 125% of the target" in out
    assert "but it was never above it for 3600 s" in out
