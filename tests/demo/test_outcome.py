"""The verdict about a run: offloading began, offloading ended, and no request failed; or which of these was not met."""

from dataclasses import replace

from demo.recorder import Change, Recorder, Side

from demo import outcome


def test_a_run_that_showed_everything_has_no_shortcomings(book: Recorder) -> None:
    assert outcome.shortcomings(book) == ()


def test_offloading_that_never_began(book: Recorder) -> None:
    book.changes = []

    assert outcome.shortcomings(book) == ("offloading did not begin: the percentage stayed at 0",)


def test_a_share_that_no_request_followed(book: Recorder) -> None:
    book.requests = [replace(request, side=Side.LOCAL) for request in book.requests]

    assert outcome.shortcomings(book) == ("offloading began, but the remote answered no request",)


def test_offloading_that_did_not_end(book: Recorder) -> None:
    book.changes.append(Change(75, 0, 50, "MetricAboveTarget", "waiting 6 per pod > 4"))

    assert outcome.shortcomings(book) == ("offloading did not end: the percentage was still 50 when the run was over",)


def test_failed_requests_are_counted_by_what_went_wrong(book: Recorder) -> None:
    book.requests[3] = replace(book.requests[3], failure="HTTP 503: full")
    book.requests[4] = replace(book.requests[4], failure="cut off after 3 tokens")
    book.requests[5] = replace(book.requests[5], failure="HTTP 503: full")

    (found,) = outcome.shortcomings(book)

    assert found == "3 of 160 requests failed; 2 of them: HTTP 503: full; 1 of them: cut off after 3 tokens"


def test_a_run_without_requests_shows_nothing() -> None:
    assert outcome.shortcomings(Recorder(capacity=8)) == (
        "offloading did not begin: the percentage stayed at 0",
        "no request was sent",
    )


def test_all_that_was_not_met_is_told(book: Recorder) -> None:
    book.changes = book.changes[:1]
    book.requests[0] = replace(book.requests[0], failure="HTTP 500: oh")

    assert [each.split(" ")[0] for each in outcome.shortcomings(book)] == ["offloading", "1"]
