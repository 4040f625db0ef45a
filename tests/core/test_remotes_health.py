"""Several remotes: how each of them is, how they are together, and what they refuse together."""

from beamlit_controller.core import remotes_health
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.remote_health import NOTHING, Attempts, RemoteAssessment, RemoteReady
from beamlit_controller.core.spec import RemoteBackend, Scheme

ONE = RemoteBackend(Scheme.HTTPS, "one.example.com", 443, name="one")
TWO = RemoteBackend(Scheme.HTTPS, "two.example.com", 443, name="two")
ONLY = RemoteBackend(Scheme.HTTPS, "api.example.com", 443)
GOOD = Attempts((("answered", 200, 5),), servers=1)
REFUSED = Attempts((("answered", 402, 3),), servers=1)


def condition(**attempts: Attempts) -> RemoteReady:
    """Return the condition of both together after these attempts."""
    return remotes_health.condition(remotes_health.judge((ONE, TWO), {}, attempts))


def test_together_they_are_ready_while_one_of_them_is_and_the_message_speaks_of_each() -> None:
    said = condition(one=REFUSED, two=GOOD)

    assert (said.status, said.reason) == ("True", Reason.REMOTE_ANSWERS)
    assert said.message == (
        "one: one.example.com answers 402; 3 of the last 3 attempts failed; "
        "two: two.example.com answered the last requests: 5 of 5"
    )


def test_they_are_not_ready_when_none_is_and_the_reason_is_that_of_the_first() -> None:
    said = condition(one=REFUSED, two=Attempts((("refused", 503, 2),), servers=1))

    assert (said.status, said.reason) == ("False", Reason.REMOTE_REFUSES_CREDENTIAL)


def test_a_remote_that_nobody_has_asked_yet_may_be_ready() -> None:
    said = condition(one=REFUSED)

    assert (said.status, said.reason) == ("Unknown", Reason.REMOTE_NOT_ASKED)
    assert "two: no request has been sent to the remote yet" in said.message


def test_a_remote_whose_budget_is_spent_does_not_count_unless_none_is_left() -> None:
    """It was ready for as long as nothing was sent there, while the other one was down and everything waited at local."""
    known = remotes_health.judge((ONE, TWO), {}, {"one": GOOD, "two": REFUSED})

    left, none = remotes_health.condition(known, ("one",)), remotes_health.condition(known, ("one", "two"))

    assert (left.status, left.reason) == ("False", Reason.REMOTE_REFUSES_CREDENTIAL)
    assert left.message == (
        "one: its budget is spent; two: two.example.com answers 402; 3 of the last 3 attempts failed"
    )
    assert none == remotes_health.condition(known)
    assert remotes_health.condition(known, ("two",)).status == "True"


def test_a_single_remote_is_told_as_it_is() -> None:
    assessed = remotes_health.judge((ONLY,), {}, {"": GOOD})

    assert remotes_health.condition(assessed) == assessed[""].condition
    assert remotes_health.condition(assessed, ("",)) == assessed[""].condition
    assert remotes_health.condition({}) == RemoteAssessment().condition


def test_what_was_known_of_each_holds_until_there_is_something_new_of_it() -> None:
    known = remotes_health.judge((ONE, TWO), {}, {"one": REFUSED, "two": GOOD})

    later = remotes_health.judge(
        (TWO, ONE), known, {"two": GOOD, "one": Attempts((("answered", 402, 3), ("answered", 200, 1)))}
    )

    assert [(name, each.condition.status) for name, each in later.items()] == [("two", "True"), ("one", "True")]
    assert later["two"].condition == known["two"].condition


def test_a_429_after_which_another_remote_was_asked_takes_no_share_away() -> None:
    throttled = Attempts((("answered", 200, 1), ("answered", 429, 9)), servers=1)

    assert remotes_health.together({"one": throttled, "two": GOOD}, (ONE, TWO)).counts == (("answered", 200, 6),)
    assert remotes_health.together({"one": GOOD, "two": throttled}, (ONE, TWO)).counts == (
        ("answered", 200, 6),
        ("answered", 429, 9),
    )
    assert remotes_health.together({"": throttled}, (ONLY,)) == throttled
    assert remotes_health.together({}, ()) == NOTHING
