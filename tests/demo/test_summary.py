"""The tables at the end: the same seconds of the same load, without and with offloading."""

from dataclasses import replace

from demo.plan import Plan
from demo.recorder import Phase, Recorder, Request, Side, percentile
from rich.console import Console

from demo import summary


def said(book: Recorder, plan: Plan) -> str:
    console = Console(width=100, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(summary.tables(book, plan))
    return captured.get()


def test_the_peaks_are_compared_over_equally_many_seconds(book: Recorder, plan: Plan) -> None:
    without, offloading, halved = summary.same_peak(book, plan)

    assert {request.phase for request in without} == {plan.peak_without.name}
    assert {request.phase for request in offloading} == {plan.peak.name}
    assert {request.phase for request in halved} == {plan.halved.name}
    assert len(without) == len(offloading) == len(halved) == plan.peak_without.seconds * 2
    assert max(request.at for request in offloading) < 30 + plan.peak_without.seconds


def test_latencies_are_of_whole_answers_only() -> None:
    good = [Request("peak", at, Side.LOCAL, at / 10, at) for at in range(1, 11)]
    bad = Request("peak", 11, Side.REMOTE, 50.0, 60.0, failure="cut off")

    found = summary.latencies([*good, bad])

    assert (found.first_p50, found.first_p95, found.first_most) == (0.5, 1.0, 1.0)
    assert (found.total_p50, found.total_p95) == (5, 10)
    assert (found.requests, found.local, found.remote, found.failed) == (11, 10, 0, 1)


def test_latencies_of_nothing_are_unknown() -> None:
    assert summary.latencies([]).first_p95 is None


def test_percentiles_are_values_that_were_seen() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]

    assert percentile(values, 50) == 3
    assert percentile(values, 95) == 5
    assert percentile(values, 20) == 1
    assert percentile([7.0], 50) == 7
    assert percentile([], 50) is None


def test_the_tables_say_latencies_side_by_side_and_each_change_with_its_time(book: Recorder, plan: Plan) -> None:
    lines = said(book, plan).splitlines()

    (p95,) = [line for line in lines if "first token, p95" in line]
    assert [each.strip() for each in p95.split("│")[2:5]] == ["2.80 s", "0.20 s", "0.20 s"]
    assert any("32.0 s" in line and "no limit → 7.5" in line and "waiting 6 per pod > 2" in line for line in lines)
    assert any("50.0 s" in line and "7.5 → 3.5" in line for line in lines)


def test_requests_are_counted_by_side_only_where_there_was_a_choice(book: Recorder, plan: Plan) -> None:
    assert "120 requests, 80 answered locally, 40 by the remote, 0 failed" in " ".join(said(book, plan).split())


def test_each_remote_has_a_row_with_its_cost_and_its_budget(book: Recorder, plan: Plan) -> None:
    rows = [" ".join(line.replace("│", "").split()) for line in said(book, plan).splitlines()]

    assert "contract 30 13920 0.031 USD 103 %, spent" in rows
    assert "on-demand 10 4640 0.005 USD no budget" in rows


def test_a_run_that_was_over_at_once_has_tables_too(plan: Plan) -> None:
    assert "without offloading" in said(Recorder(capacity=8), plan)


def test_a_phase_is_named_with_its_load(plan: Plan) -> None:
    assert str(replace(plan.peak, rate=13.25)) == "above capacity: 13.2 requests/s through the gateway"
    assert str(Phase("x", "low load", 2, 4, offloading=False)).endswith("straight to the local servers")
    assert str(plan.drain) == "queues empty"
