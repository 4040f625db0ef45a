"""The verdict about a run: offloading began and ended, the cap followed, no request failed; or which was not met."""

from dataclasses import replace

from demo.recorder import Recorder, Side

from demo import outcome


def test_a_run_that_showed_everything_has_no_shortcomings(book: Recorder) -> None:
    assert outcome.shortcomings(book) == ()


def test_offloading_that_never_began(book: Recorder) -> None:
    book.changes = []

    assert outcome.shortcomings(book) == ("offloading did not begin: no cap was learned",)


def test_a_share_that_no_request_followed(book: Recorder) -> None:
    book.requests = [replace(request, side=Side.LOCAL) for request in book.requests]

    assert outcome.shortcomings(book) == ("offloading began, but the remote answered no request",)


def test_a_cap_that_did_not_follow_what_local_can_do(book: Recorder) -> None:
    book.changes[-1] = replace(book.changes[-1], after=7.0)

    assert outcome.shortcomings(book) == ("the cap did not follow: 7.5 with all local slots, 7.0 with half of them",)


def test_a_spent_budget_after_which_the_next_remote_answered_nothing(book: Recorder) -> None:
    contract, other = book.spending
    book.spending = (contract, replace(other, requests=0))

    assert outcome.shortcomings(book) == ("the budget of contract was spent, but on-demand answered no request",)


def test_offloading_that_did_not_end(book: Recorder) -> None:
    book.requests = [
        replace(request, side=Side.REMOTE) if request.phase == "calm-after" else request for request in book.requests
    ]

    assert outcome.shortcomings(book) == ("offloading did not end: the remote answered 20 of the last 20 requests",)


def test_failed_requests_are_counted_by_what_went_wrong(book: Recorder) -> None:
    book.requests[3] = replace(book.requests[3], failure="HTTP 503: full")
    book.requests[4] = replace(book.requests[4], failure="cut off after 3 tokens")
    book.requests[5] = replace(book.requests[5], failure="HTTP 503: full")

    (found,) = outcome.shortcomings(book)

    assert found == "3 of 160 requests failed; 2 of them: HTTP 503: full; 1 of them: cut off after 3 tokens"


def test_a_run_without_requests_shows_nothing() -> None:
    assert outcome.shortcomings(Recorder(capacity=8)) == (
        "offloading did not begin: no cap was learned",
        "no request was sent",
    )


def test_all_that_was_not_met_is_told(book: Recorder) -> None:
    book.changes = book.changes[:1]
    book.requests[0] = replace(book.requests[0], failure="HTTP 500: oh")

    assert [each.split(":")[0] for each in outcome.shortcomings(book)] == [
        "the cap did not follow",
        "1 of 160 requests failed; 1 of them",
    ]
