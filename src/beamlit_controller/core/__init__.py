"""Decides: pure functions over frozen values.

In: an `OffloadSpec` (the user's configuration), `Signals` (what was read), the previous `Decision`, and the time. Out:
a `Verdict` (signals compared with targets), a `Decision` (percentage and reason), a `Cycle` (the record of both). May
import: the standard library without I/O, clocks or asyncio. No third party, no other package of ours.
"""
