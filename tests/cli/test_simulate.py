"""`simulate` as it is typed, on a CSV file: tables, JSON, pictures, and what it says about mistakes."""

import csv
import json
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

import builders
from beamlit_controller.core.metric_spec import ExternalMetric, SeriesSelector, Value
from beamlit_controller.rehearsal import recorded
from builders import NOW
from cli.test_main import EXAMPLES
from fakes import commands

pytestmark = pytest.mark.long  # each starts a process that simulates

PROMETHEUS = EXAMPLES / "prometheus.yaml"
METRIC = "my_custom_metric_in_prom"
IN_PROM = ExternalMetric(SeriesSelector(METRIC), Value(10_000))
BUSY = [*[4] * 40, *[16] * 36, *[4] * 164]


def written(folder: Path, values: Sequence[object] = BUSY, *, rate: object = "", name: str = METRIC) -> Path:
    """Write a recording, a value every 15 s."""
    path = folder / "recorded.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time", name, *(["requests"] if rate else [])])
        for number, value in enumerate(values):
            at = f"{NOW + number * timedelta(seconds=15):%Y-%m-%dT%H:%M:%SZ}"
            rows.writerow([at, value, *([rate] if rate else [])])
    return path


def simulated(*arguments: object, manifest: Path = PROMETHEUS) -> dict[str, Any]:
    ran = commands.typed("simulate", manifest, *arguments, "--output", "json")
    assert ran.returncode == 0, ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


def refused(*arguments: object, manifest: Path = PROMETHEUS) -> str:
    ran: subprocess.CompletedProcess[str] = commands.typed("simulate", manifest, *arguments)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    return ran.stderr


def test_a_file_that_is_not_there_is_named_without_the_numbers_of_the_system(tmp_path: Path) -> None:
    assert refused("--csv", tmp_path / "none.csv") == (
        f"beamlit-controller: {tmp_path / 'none.csv'}: No such file or directory\n"
    )


def test_a_manifest_with_mistakes_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("spec: {}\n")

    told = refused("--csv", written(tmp_path), manifest=bad)

    assert all(line.removeprefix("beamlit-controller: ").startswith(f"{bad}: ") for line in told.splitlines())


def test_a_recording_is_rehearsed_beside_other_values(tmp_path: Path) -> None:
    recorded = written(tmp_path, rate=10)
    proportional = "behavior.mode=Proportional,behavior.percentage=90"

    done = simulated("--csv", recorded, "--set", "behavior.percentage=30", "--set", proportional, "--price", "0.01")

    alone, as_written, thirty, kept, plain = done["courses"]
    names = [each["name"] for each in done["courses"]]
    assert names == ["nothing offloaded", "as written", "behavior.percentage=30", proportional, "plain rule"]
    assert (done["samples"], done["since"]) == (240, "2026-06-01T12:00:00Z")
    assert (alone["over"], alone["changes"], alone["cost"]) == (36 * 15, 0, 0)
    assert [share["percentage"] for share in as_written["shares"]] == [50, 0]
    assert as_written["shares"][0]["at"] == "2026-06-01T12:10:00Z"
    assert as_written["offloaded"] == pytest.approx(as_written["offloading"] * 10 * 0.5)
    assert as_written["cost"] == pytest.approx(as_written["offloaded"] * 0.01)
    assert thirty["most"] == 30
    assert 0 < kept["over"] < alone["over"] / 2
    assert plain["changes"] > 3 * as_written["changes"]


def test_of_several_remotes_each_is_listed_with_its_cost_and_its_budget(tmp_path: Path) -> None:
    content = yaml.safe_load(PROMETHEUS.read_text())
    price, budget = {"outputPerMillion": 1_000, "currency": "EUR"}, {"amount": 100, "per": "Day"}
    content["spec"]["offloadingConfig"].pop("remoteBackend", None)
    content["spec"]["offloadingConfig"]["remoteBackends"] = [
        {"name": "contract", "host": "api.example.com", "price": price, "budget": budget},
        {"name": "fallback", "host": "other.example.com"},
    ]
    manifest = tmp_path / "several.yaml"
    manifest.write_text(yaml.safe_dump(content))
    recorded = written(tmp_path, rate=10)

    done = simulated("--csv", recorded, "--tokens", "800/200", manifest=manifest)
    ran = commands.typed("simulate", manifest, "--csv", recorded)

    course = done["courses"][1]
    contract, fallback = course["remotes"]
    assert (contract["requests"], contract["cost"], contract["currency"]) == (525, 105.0, "EUR")
    assert fallback["requests"] == pytest.approx(course["offloaded"] - 525)
    assert contract["spent_seconds"] > 0
    assert course["kept"] == 0
    assert "as written: fallback" in ran.stdout
    assert "give the mean of a request as --tokens" in " ".join(ran.stdout.split())


def test_the_table_names_figures_and_changes(tmp_path: Path) -> None:
    ran = commands.typed("simulate", PROMETHEUS, "--csv", written(tmp_path))

    assert ran.returncode == 0
    assert "default/llama: my_custom_metric_in_prom (target 10)" in ran.stdout
    assert "as written" in ran.stdout
    assert "0 % -> 50 %" in ran.stdout
    assert "50 % -> 0 %" in ran.stdout
    assert "requests" not in ran.stdout.split("Changes")[0]


def test_the_pictures_are_what_their_names_say_and_the_page_needs_nothing_else(tmp_path: Path) -> None:
    png, svg, page = (tmp_path / f"picture.{kind}" for kind in ("png", "svg", "html"))

    simulated("--csv", written(tmp_path), "--picture", png, "--picture", svg, "--picture", page)

    assert png.read_bytes().startswith(b"\x89PNG")
    assert "as written: 2 changes" in "".join(ET.fromstring(svg.read_text()).itertext())  # noqa: S314 - our own
    assert "as written" in page.read_text()
    assert all(
        f'{outside}="http' not in page.read_text().replace('xmlns:xlink="http', "") for outside in ("src", "href")
    )


def test_a_query_is_drawn_as_it_is_written(tmp_path: Path) -> None:
    """No mathematics in dollars, no markup, and as long as there is room."""
    query = 'sum(rate(x{a=~"b$|^<script>&_{1"}[1m])) ' + "+ 0 " * 60
    content = yaml.safe_load(PROMETHEUS.read_text())
    content["spec"]["offloadingConfig"]["metrics"][0]["external"]["metric"] = {"name": query}
    manifest = tmp_path / "query.yaml"
    manifest.write_text(yaml.safe_dump(content))
    page = tmp_path / "page.html"

    simulated("--csv", written(tmp_path, [4, 16], name="metrics[0]"), "--picture", page, manifest=manifest)

    assert "<script" not in page.read_text()
    assert "b$|^&lt;script&gt;&amp;_{1" in page.read_text()


def test_a_utilization_is_recorded_in_percent(tmp_path: Path) -> None:
    done = simulated("--csv", written(tmp_path, [30, 80], name="cpu"), manifest=EXAMPLES / "resource-cpu.yaml")

    assert done["courses"][0]["over"] == 15


def test_a_target_may_be_another_and_a_metric_may_not(tmp_path: Path) -> None:
    recorded = written(tmp_path)

    done = simulated("--csv", recorded, "--set", "metrics[0].external.target.value=20")

    assert done["courses"][2]["changes"] == 0
    said = refused("--csv", recorded, "--set", "metrics[0].external.metric.name=another")
    assert "expected the same metrics with other values of their targets" in said


def test_the_kind_of_a_target_may_not_be_another(tmp_path: Path) -> None:
    to = {"type": "AverageValue", "averageValue": 5, "value": "null"}
    change = ",".join(f"metrics[0].external.target.{field}={value}" for field, value in to.items())

    assert "or kinds of targets" in refused("--csv", written(tmp_path), "--set", change)


def test_times_of_another_zone_are_shown_in_utc(tmp_path: Path) -> None:
    path = tmp_path / "recorded.csv"
    path.write_text(f"time,{METRIC}\n2026-06-01T13:00:00+05:00,4\n")

    ran = commands.typed("simulate", PROMETHEUS, "--csv", path)

    assert "2026-06-01 08:00 to 2026-06-01 08:00 UTC" in ran.stdout


def test_a_query_with_brackets_and_slashes_is_shown_as_it_is(tmp_path: Path) -> None:
    """No settings are needed to say that it is PromQL: it was recorded."""
    query = 'sum(a{b=~"[/]v",c=~"[a-z]+"}) / sum(d)'
    content = yaml.safe_load(PROMETHEUS.read_text())
    content["spec"]["offloadingConfig"]["metrics"][0]["external"]["metric"] = {"name": query}
    manifest = tmp_path / "query.yaml"
    manifest.write_text(yaml.safe_dump(content))

    ran = commands.typed("simulate", manifest, "--csv", written(tmp_path, [4, 16], name=query))

    assert ran.returncode == 0, ran.stderr
    assert query in " ".join(ran.stdout.split())


def test_empty_cells_and_seconds_since_1970_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "recorded.csv"
    path.write_text(f"time,{METRIC}\n1780315200,20\n1780315215,\n1780315230.5,3\n")

    done = simulated("--csv", path)

    assert (done["since"], done["samples"]) == ("2026-06-01T12:00:00Z", 3)
    assert done["incomplete"] == pytest.approx(1 / 3)


# The same three samples, 15 s apart, as people have them; and what is said about each.
EXPORTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Grafana": (
        '"Time","Value"\n2026-06-01 12:00:00,20\n2026-06-01 12:00:15,\n2026-06-01 12:00:30,3\n',
        ("the column Value was taken for", "without a time zone"),
    ),
    "Grafana, with the series' name": (
        f'"Time","{METRIC}{{pod=""a"", job=""b""}}"\n2026-06-01 12:00:00,20\n2026-06-01 12:00:15,\n2026-06-01 12:00:30,3\n',
        ("without a time zone",),
    ),
    "Grafana, two series": (
        f'"Time","{METRIC}{{pod=""a""}}","{METRIC}{{pod=""b""}}"\n2026-06-01 12:00:00,15,5\n2026-06-01 12:00:15,,\n2026-06-01 12:00:30,3,\n',
        ("2 columns of my_custom_metric_in_prom were added up",),
    ),
    "Grafana, a legend": (
        '"Time","Requests that wait"\n2026-06-01 12:00:00,20\n2026-06-01 12:00:15,\n2026-06-01 12:00:30,3\n',
        ("the column Requests that wait was taken for",),
    ),
    "Grafana, for Excel": (
        f'sep=,\r\n"Time","{METRIC}"\r\n2026-06-01 12:00:00.000,20\r\n2026-06-01 12:00:15.000,\r\n2026-06-01 12:00:30.000,3\r\n',
        ("without a time zone",),
    ),
    "Grafana's API": (
        f"Time,{METRIC}\n1780315200000,20\n1780315215000,\n1780315230000,3\n",
        ("milliseconds since 1970",),
    ),
    "nanoseconds": (
        f"timestamp,{METRIC}\n1780315200000000000,20\n1780315215000000000,\n1780315230000000000,3\n",
        ("nanoseconds since 1970",),
    ),
    "seconds as floats": (f"time,{METRIC}\n1.7803152e9,20\n1780315215.0,\n1780315230,3\n", ()),
    "a zone behind a blank": (
        f"time,{METRIC}\n2026-06-01 14:00:00+02:00,20\n2026-06-01 14:00:15+02:00,\n2026-06-01 12:00:30 UTC,3\n",
        (),
    ),
    "NaN": (
        f"time,{METRIC}\n1780315200,20\n1780315215,NaN\n1780315230,3\n",
        ("1 cell held no number",),
    ),
    "null": (f"time,{METRIC}\n1780315200,20\n1780315215,null\n1780315230,3\n", ("1 cell held no number",)),
    "infinite": (f"time,{METRIC}\n1780315200,20\n1780315215,+Inf\n1780315230,3\n", ("1 cell held no number",)),
    "newest first": (
        f"time,{METRIC}\n1780315230,3\n1780315215,\n1780315200,20\n",
        ("the newest row comes first",),
    ),
    "in no order": (
        f"time,{METRIC}\n1780315215,\n1780315230,3\n1780315200,20\n",
        ("sorted by time",),
    ),
    "a time twice": (
        f"time,{METRIC}\n1780315200,99\n1780315200,20\n1780315215,\n1780315230,3\n",
        ("1 row had the time of another",),
    ),
    "semicolons": (f"Time;{METRIC}\n1780315200;20\n1780315215;\n1780315230;3\n", ()),
    "tabs": (f"Time\t{METRIC}\n1780315200\t20\n1780315215\t\n1780315230\t3\n", ()),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(("lines", "said"), EXPORTS.values(), ids=EXPORTS)
def test_what_others_export_is_read_and_what_was_made_of_it_is_told(
    tmp_path: Path, lines: str, said: tuple[str, ...], encoding: str
) -> None:
    path = tmp_path / "recorded.csv"
    path.write_bytes(lines.encode(encoding))

    read = recorded.read(path, builders.spec(metrics=(IN_PROM,)).metrics, replicas=1)

    assert read.recording.times == tuple(NOW + number * timedelta(seconds=15) for number in range(3))
    assert read.recording.values == ((20_000,), (None,), (3_000,))
    assert all(any(each in note for note in read.notes) for each in said)
    assert bool(read.notes) == bool(said)


def test_what_was_made_of_a_file_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "recorded.csv"
    path.write_text(EXPORTS["Grafana"][0])

    shown = commands.typed("simulate", PROMETHEUS, "--csv", path)

    assert shown.returncode == 0, shown.stderr
    assert "The file: times without a time zone were read as UTC." in shown.stdout
    assert simulated("--csv", path)["notes"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "expected a column time in the first line, got nothing"),
        ("time,queue\n", f"expected a column {METRIC} or metrics[0] in the first line, got time, queue"),
        (f"time,{METRIC}\n", "expected a row below the header, got none"),
        (f"time,{METRIC}\n1,2\n\n3\n", "line 4: expected 2 cells, got 1"),
        (f"time,{METRIC}\n1,many\n", f"line 2, {METRIC}: expected a number from 0 to 1e15, or nothing, got 'many'"),
        (f"time,{METRIC}\n1,-2\n", "from 0 to 1e15"),
        (f"time,{METRIC}\n1,1.2 K\n", "export it unformatted"),
        (f"Time,{METRIC}\n01/06/2026,1\n", "line 2, Time: expected a time such as"),
        (f"time,{METRIC},{METRIC}_max\n1,2,3\n1,2\n", "line 3: expected 3 cells, got 2"),
        ("time,other,third\n1,2,3\n", f"expected a column {METRIC} or metrics[0]"),
        (f"time,{METRIC}\nyesterday,1\n", "line 2, time: expected a time such as"),
        (f"time,{METRIC}\n,1\n", "line 2, time: expected a time, got nothing"),
        ("{" * 200_000, "no CSV in UTF-8"),
        (f"time,{METRIC}\n1e300,1\n", "line 2, time: expected a time such as"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path: Path, lines: str, said: str) -> None:
    path = tmp_path / "recorded.csv"
    path.write_text(lines)

    assert said in refused("--csv", path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "behavior.percentage"], "--set behavior.percentage: expected FIELD=VALUE"),
        (["--set", "behavior.percentag=3"], "behavior.percentag"),
        (["--set", "behavior.percentage=300"], "--set behavior.percentage=300: "),
        (["--set", "metrics[7].external=1"], "there is no 7"),
        (["--set", "beh aviour=1"], "expected a field such as behavior.percentage"),
        (["--price", "1"], "--price: expected the requests per second beside it"),
        (["--tokens", "800"], "--tokens: expected INPUT/OUTPUT, such as 800/150, got '800'"),
        (["--since", "a week"], "--since: expected a time such as 90s"),
        (["--since", "999999d"], "--since: expected at most 500,000 steps"),
        (["--until", "0001-01-02T00:00:00Z"], "--since: expected a valid date"),
        (["--step", "0s"], "--step: expected a time such as 90s"),
        (["--until", "today"], "RFC 3339"),
        (["--until", "9999-12-31T23:59:59-14:00"], "RFC 3339"),
        (["--picture", "drawing.pdf"], "--picture: expected a name that ends in .png, .svg, .html"),
        (["--name", "other"], "expected one valid model other; valid models: default/llama"),
        (["--prometheus", "127.0.0.1:9"], "--csv: can't be combined with --prometheus"),
    ],
)
def test_a_mistake_is_said_and_nothing_is_printed_beside_it(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in refused("--csv", written(tmp_path, [4, 16]), *arguments)


def test_a_recording_has_to_come_from_somewhere(tmp_path: Path) -> None:
    assert "expected --prometheus ADDRESS, --csv FILE, or --settings" in refused()
    assert "no-such-file" in refused("--csv", tmp_path / "no-such-file")
    assert "can't connect" in refused("--prometheus", "127.0.0.1:9")
    assert "--query: expected METRIC=PROMQL" in refused("--prometheus", "127.0.0.1:9", "--query", "x")
    typo = refused("--prometheus", "127.0.0.1:9", "--query", "typo=up")
    assert f"--query typo: expected one of the metrics metrics[0], {METRIC}" in typo
    cpu = refused("--prometheus", "127.0.0.1:9", manifest=EXAMPLES / "resource-cpu.yaml")
    assert "say by --query 'cpu=PROMQL'" in cpu


def test_a_model_without_metrics_has_nothing_to_rehearse(tmp_path: Path) -> None:
    content = yaml.safe_load(PROMETHEUS.read_text())
    del content["spec"]["offloadingConfig"]["metrics"]
    bare = tmp_path / "bare.yaml"
    bare.write_text(yaml.safe_dump(content))

    assert f"{bare}: default/llama has no metrics" in refused("--csv", written(tmp_path), manifest=bare)


def test_an_average_of_one_value_wants_the_replicas(tmp_path: Path) -> None:
    manifest = tmp_path / "average.yaml"
    manifest.write_text(
        PROMETHEUS.read_text()
        .replace("type: Value", "type: AverageValue")
        .replace("            value: 10", "            averageValue: 10")
    )
    recorded = written(tmp_path, [30, 50])

    assert "--replicas: my_custom_metric_in_prom is compared with an average per replica" in refused(
        "--csv", recorded, manifest=manifest
    )
    assert simulated("--csv", recorded, "--replicas", "4", manifest=manifest)["courses"][0]["over"] == 15
