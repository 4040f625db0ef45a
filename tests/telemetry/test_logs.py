"""What the logs tell, and how: read back from stderr."""

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest
import structlog

from beamlit_controller.core import cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Signals
from beamlit_controller.core.spec import Behavior, Mode, ModelKey, Override
from beamlit_controller.telemetry import logs
from beamlit_controller.telemetry.logs import LogSink
from builders import CPU, NOW, QUEUE, missing, pod_samples, sample, signals, spec

KEY = ModelKey("models", "llama")
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger(logs.OURS)
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before
    logging.getLogger(logs.OURS).setLevel(before[2])  # setting a level through its method empties the caches of all
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def events(capsys: pytest.CaptureFixture[str]) -> list[object]:
    return [line["event"] for line in lines(capsys)]


def one_round(read: Signals, previous: Decision | None = None, **changes: object) -> Cycle:
    return cycle.run(spec(**changes), read, previous=previous, now=read.at)


def raised(error: Exception) -> Exception:
    """Return the error with a traceback."""
    with contextlib.suppress(type(error)):
        raise error
    return error


def test_a_decision_is_logged_with_its_model_percentage_reason_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=True)

    LogSink().record(one_round(signals(value=20)))

    (line,) = lines(capsys)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert (
        line.items()
        >= {
            "event": "decision changed",
            "level": "info",
            "model": "models/llama",
            "percentage": 100,
            "reason": "MetricAboveTarget",
            "message": "queue 20 > 10",
        }.items()
    )


def test_what_a_person_set_is_told_also_where_the_share_stays(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=True)
    sink = LogSink()
    local = cycle.run(spec(), signals(), previous=None, now=NOW)
    sink.record(local)

    sink.record(cycle.run(spec(override=Override(0)), signals(), previous=local.decision, now=NOW + SECOND))

    assert [(line["event"], line["reason"]) for line in lines(capsys)] == [
        ("decision changed", "MetricBelowTarget"),
        ("reason changed", "Overridden"),
    ]


def test_rounds_that_change_nothing_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", json=True)
    sink = LogSink()
    first = one_round(signals(value=20))
    sink.record(first)
    capsys.readouterr()

    for second in range(1, 50):
        sink.record(one_round(signals(value=20 + second, at=NOW + second * SECOND), first.decision))

    assert lines(capsys) == []


def test_a_cap_that_is_clearly_another_one_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """The share stays the same under a cap, so nothing told when the cap had fallen, and why."""
    logs.configure("info", json=True)
    sink = LogSink()
    first = one_round(signals(value=5), behavior=Behavior(mode=Mode.ADAPTIVE))

    for cap in (None, 10, "10.5", 8, "8.5", 7, 6, 0, 6):
        decided = replace(first.decision, cap=None if cap is None else Fraction(cap), message=f"at most {cap}")
        sink.record(replace(first, decision=decided, previous=first.decision))

    caps = [(line["previous"], line["cap"], line["message"]) for line in lines(capsys)]
    assert caps == [(10, 8, "at most 8"), (8, 6, "at most 6")]


def test_another_reason_for_the_same_percentage_is_logged_for_debugging_as_what_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("debug", json=True)
    sink = LogSink()
    behavior = Behavior(engage=replace(Behavior().engage, stabilization_window=30 * SECOND))
    first = one_round(signals(value=5), behavior=behavior)
    sink.record(first)

    sink.record(one_round(signals(value=20, at=NOW + SECOND), first.decision, behavior=behavior))

    assert [(line["event"], line["level"], line["reason"]) for line in lines(capsys)] == [
        ("decision changed", "info", "MetricBelowTarget"),
        ("reason changed", "debug", "Stabilizing"),
    ]


def test_a_metric_is_logged_when_it_is_lost_when_the_reason_changes_and_when_it_is_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info", json=True)
    sink, previous = LogSink(), None
    read = sample(5)
    for queue in (read, missing(), missing(message="refused again"), missing(Reason.TIMED_OUT, "late"), read, read):
        record = one_round(signals(queue, pod_samples("0.1")), previous, metrics=(QUEUE, CPU))
        sink.record(record)
        previous = record.decision

    told = [(line["event"], line.get("metric"), line.get("reason")) for line in lines(capsys)]

    assert [each for each in told if each[1]] == [
        ("metric unavailable", "queue", "ConnectionFailed"),
        ("metric unavailable", "queue", "TimedOut"),
        ("metric available again", "queue", None),
    ]


def test_a_metric_that_was_taken_from_the_spec_while_it_was_lost_is_not_called_available(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info", json=True)
    sink = LogSink()
    sink.record(one_round(signals(missing(), pod_samples("0.1")), metrics=(QUEUE, CPU)))

    sink.record(one_round(signals(pod_samples("0.1")), metrics=(CPU,)))

    assert "metric available again" not in events(capsys)


def test_a_failed_round_is_logged_once_with_its_traceback_and_when_it_works_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info", json=True)
    sink = LogSink()
    error = raised(RuntimeError("first line\nsecond line"))

    for _ in range(10):
        sink.failed(KEY, error)
    sink.record(one_round(signals()))
    sink.record(one_round(signals(), one_round(signals()).decision))

    failed, _, again = lines(capsys)
    assert (failed["event"], failed["level"], failed["model"]) == ("round failed", "error", "models/llama")
    assert "second line" in str(failed["exception"])
    assert again["event"] == "round recovered"


def test_a_reading_that_fails_is_logged_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=True)

    logs.reading_failed(KEY, "queue", raised(RuntimeError("unexpected")))

    (failed,) = lines(capsys)
    assert (failed["event"], failed["model"], failed["what"]) == ("reading failed", "models/llama", "queue")
    assert "RuntimeError: unexpected" in str(failed["exception"])


def test_another_error_is_logged_again(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=True)
    sink = LogSink()

    for error in (KeyError("a"), KeyError("a"), KeyError("b")):
        sink.failed(KEY, error)

    assert [line["error"] for line in lines(capsys)] == ["KeyError('a')", "KeyError('b')"]


def test_a_forgotten_model_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=True)
    sink = LogSink()
    sink.record(one_round(signals(missing())))
    sink.failed(KEY, KeyError("a"))

    sink.forget(KEY)
    capsys.readouterr()
    sink.record(one_round(signals(missing())))
    sink.failed(KEY, KeyError("a"))

    assert events(capsys) == ["decision changed", "metric unavailable", "round failed"]


def test_what_is_no_terminal_gets_one_json_object_a_line_whatever_a_server_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info")

    LogSink().record(one_round(signals(missing(message='<html>\nforged {"event": "x"}\x1b[31m'))))

    assert all('<html>\nforged {"event": "x"}\x1b[31m' in str(line["message"]) for line in lines(capsys))


def test_on_a_console_control_characters_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=False)

    LogSink().record(one_round(signals(missing(message="<html>\nforged line\x1b[31m\x9b2J\u2028"))))

    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 2
    assert r"<html>\nforged line\x1b[31m\x9b2J\u2028" in printed
    assert not {"\x1b", "\x9b"} & set(printed)


def test_on_a_console_a_traceback_keeps_its_lines_but_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=False)

    LogSink().failed(KEY, raised(RuntimeError("one\ntwo\x1b[31m")))

    printed = capsys.readouterr().err
    assert "Traceback (most recent call last):\n" in printed
    assert "RuntimeError: one\ntwo\\x1b[31m" in printed


def test_libraries_are_heard_from_warnings_on_in_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=True)

    logging.getLogger("httpx2").info("HTTP Request: GET /metrics")
    logging.getLogger("uvicorn.error").warning("Invalid %s received", "request")

    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["logger"]) == ("Invalid request received", "warning", "uvicorn.error")


def test_the_level_holds_for_our_own_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", json=True)

    LogSink().record(one_round(signals(missing())))

    assert events(capsys) == ["metric unavailable"]


def test_a_logger_that_another_module_of_ours_asks_for_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=True)

    structlog.get_logger(f"{logs.OURS}.standalone.folder").info("manifests read", files=3)

    assert events(capsys) == ["manifests read"]


def test_configuring_twice_does_not_log_twice(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=True)
    logs.configure("info", json=True)

    LogSink().record(one_round(signals()))

    assert events(capsys) == ["decision changed"]
