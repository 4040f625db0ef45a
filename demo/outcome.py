"""Whether the run showed what it is there to show."""

from collections import Counter

from demo.recorder import Recorder, Side

MOST_KINDS = 3
FOLLOWED = 0.8
"""Of the cap that was, when half of the slots are gone."""
STRAY = 0.25
"""So many of the last requests may not have fitted: they come at random."""


def shortcomings(book: Recorder) -> tuple[str, ...]:
    """Return what was not met, one sentence each: it began, the cap followed, the next remote took over, it ended, no request failed. Nothing is good."""
    return (*_began(book), *_followed(book), *_passed_on(book), *_ended(book), *_failed(book))


def _began(book: Recorder) -> tuple[str, ...]:
    if not book.changes:
        return ("offloading did not begin: no cap was learned",)
    if book.served(Side.REMOTE) == 0:
        return ("offloading began, but the remote answered no request",)
    return ()


def _followed(book: Recorder) -> tuple[str, ...]:
    """Hold the cap at the end against the one from before half of the local slots were gone."""
    halved = next((begun.at for begun in book.begun if begun.phase.name == "halved"), None)
    caps = [(change.at, change.after) for change in book.changes if change.after is not None]
    before = [cap for at, cap in caps if halved is not None and at < halved][-1:]
    if before and (last := caps[-1][1]) > before[0] * FOLLOWED:
        return (f"the cap did not follow: {before[0]:.1f} with all local slots, {last:.1f} with half of them",)
    return ()


def _passed_on(book: Recorder) -> tuple[str, ...]:
    spent = [each.remote for each in book.spending[:-1] if each.is_spent]
    if spent and book.spending[-1].requests == 0:
        return (f"the budget of {', '.join(spent)} was spent, but {book.spending[-1].remote} answered no request",)
    return ()


def _ended(book: Recorder) -> tuple[str, ...]:
    last = [request for request in book.requests if request.phase == "calm-after"]
    sent = sum(request.side is Side.REMOTE for request in last)
    if sent > len(last) * STRAY:
        return (f"offloading did not end: the remote answered {sent} of the last {len(last)} requests",)
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
