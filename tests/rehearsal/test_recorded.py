"""Recordings as other tools export them, in the forms that their users report."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beamlit_controller.core.metric_spec import (
    Aggregation,
    AverageValue,
    ExternalMetric,
    MetricSpec,
    PodsMetric,
    SeriesSelector,
    Value,
)
from beamlit_controller.core.replay import Recording
from beamlit_controller.rehearsal import recorded
from beamlit_controller.rehearsal.recorded import Recorded

NAME = "vllm:num_requests_waiting"
QUEUE = ExternalMetric(SeriesSelector(NAME), Value(10_000))
CACHE = PodsMetric(
    SeriesSelector("vllm:kv_cache_usage_perc"),
    AverageValue(800),
    Aggregation.MEAN,
    (SeriesSelector("vllm:gpu_cache_usage_perc"),),
)
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
STEP = timedelta(seconds=15)


def read(folder: Path, text: str | bytes, *metrics: MetricSpec) -> Recorded:
    path = folder / "recorded.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return recorded.read(path, metrics or (QUEUE,), replicas=1)


def values(folder: Path, text: str, *metrics: MetricSpec) -> Sequence[tuple[int | None, ...]]:
    return read(folder, text, *metrics).recording.values


# By source: two samples, 20 and 3, 15 s apart; and what is said about it.
FOUND: dict[str, tuple[str, tuple[str, ...]]] = {
    "grafana/grafana#5372: a delimiter at the end of each line, newest first": (
        "Time;Int32polled.distinct;\n1780315215000;3;\n1780315200000;20;\n",
        ("newest row", "milliseconds", "Int32polled.distinct was taken for"),
    ),
    "grafana/grafana#25017: a locale with a decimal comma, for Excel": (
        'sep=;\n"Time";"Value"\n2026-06-01 12:00:00;20,0\n2026-06-01 12:00:15;3,0\n',
        ("a comma in a number was read as its decimal point", "without a time zone"),
    ),
    "grafana/grafana#5734: series as rows": (
        (
            f'"Series";"Time";"Value"\n"{NAME}{{pod=""a""}}";2026-06-01T12:00:00Z;15\n"{NAME}{{pod=""a""}}";2026-06-01T12:00:15Z;2\n'
            f'"{NAME}{{pod=""b""}}";2026-06-01T12:00:00Z;5\n"{NAME}{{pod=""b""}}";2026-06-01T12:00:15Z;1\n'
        ),
        ("2 series of vllm:num_requests_waiting were added up",),
    ),
    "grafana/grafana#25017: Unix time since 7.0": (
        f'"Time","{NAME}"\n1780315200000,20\n1780315215000,3\n',
        ("milliseconds",),
    ),
    "grafana/grafana#8058: ISO 8601 with milliseconds": (
        "Time,A-series\n2026-06-01T12:00:00.000Z,20\n2026-06-01T12:00:15.000Z,3\n",
        ("A-series was taken for",),
    ),
    "Grafana: legends of labels alone": (
        '"Time","{pod=""a""}","{pod=""b""}"\n1780315200,15,5\n1780315215,3,undefined\n',
        ("2 columns of vllm:num_requests_waiting were added up", "1 cell held no number"),
    ),
    "InfluxDB: annotated CSV": (
        (
            "#group,false,false,false,false\n#datatype,string,long,dateTime:RFC3339,double\n#default,_result,,,\n"
            ",result,table,_time,_value\n,,0,2026-06-01T12:00:00Z,20\n,,0,2026-06-01T12:00:15Z,3\n"
        ),
        ("_value was taken for",),
    ),
    "InfluxDB: influx -format csv": (
        "name,time,value\nqueue,1780315200000000000,20\nqueue,1780315215000000000,3\n",
        ("nanoseconds",),
    ),
    "Datadog: a row for each group": (
        (
            "time,group,value\n2026-06-01T12:00:00.000Z,host:a,12\n2026-06-01T12:00:00.000Z,host:b,8\n"
            "2026-06-01T12:00:15.000Z,host:a,1\n2026-06-01T12:00:15.000Z,host:b,2\n"
        ),
        ("2 series of vllm:num_requests_waiting were added up",),
    ),
    "Kibana": ("@timestamp,value\n2026-06-01T12:00:00Z,20\n2026-06-01T12:00:15Z,3\n", ("value was taken for",)),
    "Azure: a zone in the header": (
        "Timestamp (UTC),Value\n2026-06-01 12:00:00,20\n2026-06-01 12:00:15,3\n",
        ("without a time zone",),
    ),
    "pandas: with its index": (
        f",time,{NAME}\n0,2026-06-01 12:00:00+00:00,20.0\n1,2026-06-01 12:00:15+00:00,3.0\n",
        (),
    ),
    "psql and others: a comment above": (
        "# SELECT time, value\n\ntime,value\n1780315200,20\n1780315215,3\n\n",
        ("value",),
    ),
}


@pytest.mark.parametrize(("text", "said"), FOUND.values(), ids=FOUND)
def test_what_people_export_is_read(tmp_path: Path, text: str, said: tuple[str, ...]) -> None:
    found = read(tmp_path, text)

    assert found.recording == Recording((AT, AT + STEP), ((20_000,), (3_000,)))
    assert all(any(each in note for note in found.notes) for each in said), found.notes


# What is refused says what to change; where there are two ways to read a cell, none is chosen.
REFUSED = {
    "grafana/grafana#25666: formatted": ("Time,Value\n1780315200,3.5 K\n", "export it unformatted"),
    "Grafana: a unit": ("Time,Value\n1780315200,85%\n", "export it unformatted"),
    "spreadsheets: thousands": ('Time,Value\n1780315200,"1,234"\n', "export it unformatted"),
    "Excel, United States": ("Time,Value\n5/6/2026 12:00,3\n", "expected a time such as"),
    "a zone by name": ("Time,Value\n2026-06-01 12:00:00 CEST,3\n", "expected a time such as"),
    "VictoriaMetrics: /api/v1/export/csv without a header": ("1780315200,3\n", "expected a column time"),
    "psql: a footer": ("Time,Value\n1780315200,3\n(1 row)\n", "line 3: expected 2 cells, got 1"),
    "two legends of words": ("Time,mine,yours\n1780315200,3,4\n", "got Time, mine, yours"),
    "an exponent of a billion": ("Time,Value\n1e999999999,3\n", "expected a time such as"),
    "a time before all times": ("Time,Value\n0001-01-01T00:00:00+23:59,3\n", "expected a time from 1900 to 8999"),
    "the first year": ("Time,Value\n0001-01-01T00:00:00Z,3\n", "expected a time from 1900 to 8999"),
    "the first year, without a zone": ("Time,Value\n0001-01-01 00:00:00,3\n", "expected a time from 1900 to 8999"),
    "the first year as a number": ("Time,Value\n-62135596800,3\n", "expected a time from 1900 to 8999, got 0001-01-01"),
    "the last year": ("Time,Value\n9999-12-31T23:59:59Z,3\n", "expected a time from 1900 to 8999"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_one_meaning_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"recorded\.csv") as refused:
        read(tmp_path, text)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        # Ranks of one server: the metric's aggregation. Servers: their mean, as a Pods metric is held against its target.
        ('{engine=""0""},{engine=""1""}', "0.7,0.8", 750),
        ('{pod=""a""},{pod=""b""}', "0.7,0.8", 750),
        ('{engine=""0"",pod=""a""},{engine=""1"",pod=""a""},{engine=""0"",pod=""b""}', "0.2,0.4,0.9", 600),
        ('{instance=""a:1""},{instance=""b:1""}', "0.5,", 500),
    ],
)
def test_a_fraction_of_several_series_is_not_added_up(tmp_path: Path, header: str, row: str, expected: int) -> None:
    columns = ",".join(f'"vllm:kv_cache_usage_perc{each}"' for each in header.replace("},{", "}|{").split("|"))

    assert values(tmp_path, f"time,{columns}\n1,{row}\n", CACHE) == ((expected,),)


def test_a_count_is_added_up_on_each_server_and_is_the_mean_of_the_servers(tmp_path: Path) -> None:
    count = PodsMetric(SeriesSelector(NAME), AverageValue(5_000))
    columns = ",".join(f'"{NAME}{{engine=""{engine}"",pod=""{pod}""}}"' for pod in "ab" for engine in (0, 1))

    found = read(tmp_path, f"time,{columns}\n1,1,2,3,4\n", count)

    assert found.recording.values == ((5_000,),)
    assert "4 columns of vllm:num_requests_waiting were aggregated by Sum, then as the mean of 2 servers" in found.notes


def test_an_older_name_of_a_metric_is_its_name_too(tmp_path: Path) -> None:
    assert values(tmp_path, "time,vllm:gpu_cache_usage_perc\n1,0.5\n", CACHE) == ((500,),)


def test_rows_of_several_metrics_are_told_apart_by_their_names(tmp_path: Path) -> None:
    rows = f'{NAME},1,5\n"vllm:kv_cache_usage_perc{{pod=""a""}}",1,0.5\nother,1,9\n{NAME},2,6\n'

    assert values(tmp_path, f"series,time,value\n{rows}", QUEUE, CACHE) == ((5_000, 500), (6_000, None))


def test_rows_without_names_could_be_of_any_of_two_metrics(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a column vllm:num_requests_waiting"):
        read(tmp_path, "group,time,value\na,1,5\n", QUEUE, CACHE)


pieces = st.lists(
    st.sampled_from(
        [
            "time",
            "value",
            NAME,
            "series",
            ",",
            ";",
            "\t",
            "\n",
            '"',
            "{",
            'pod="a"',
            "1",
            "1e999",
            "NaN",
            "#",
            "sep=",
            "é",
        ]
    )
    | st.text(max_size=4),
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces, st.sampled_from(["", "time,value,series\n", f"time,{NAME}\n"]))
def test_no_file_raises_anything_but_what_is_told(tmp_path: Path, given: list[str], header: str) -> None:
    with suppress(ValueError):
        read(tmp_path, (header + "".join(given)).encode(errors="replace"), QUEUE)
