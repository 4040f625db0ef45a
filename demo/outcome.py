"""Whether the run showed what it is there to show."""

from collections import Counter

from demo.recorder import Recorder, Side

MOST_KINDS = 3


def shortcomings(book: Recorder) -> tuple[str, ...]:
    """Tell what was not met, one sentence each: offloading began, offloading ended, no request failed. Nothing is good."""
    return (*_began(book), *_ended(book), *_failed(book))


def _began(book: Recorder) -> tuple[str, ...]:
    if not any(change.after > 0 for change in book.changes):
        return ("offloading did not begin: the percentage stayed at 0",)
    if book.served(Side.REMOTE) == 0:
        return ("offloading began, but the remote answered no request",)
    return ()


def _ended(book: Recorder) -> tuple[str, ...]:
    if book.changes and (left := book.changes[-1].after) > 0:
        return (f"offloading did not end: the percentage was still {left} when the run was over",)
    return ()


def _failed(book: Recorder) -> tuple[str, ...]:
    failures = book.failures()
    if not book.requests:
        return ("no request was sent",)
    if not failures:
        return ()
    kinds = Counter(request.failure for request in failures).most_common(MOST_KINDS)
    said = "; ".join(f"{count} of them: {kind}" for kind, count in kinds)
    return (f"{len(failures)} of {len(book.requests)} requests failed; {said}",)
