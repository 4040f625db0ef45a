"""Decisions survive in files."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from beamlit_controller.core import cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.demand import Share
from beamlit_controller.core.ledger import UsageReading
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import ModelKey, RemoteBackend, Scheme
from beamlit_controller.core.usage import Usage
from beamlit_controller.standalone.decision_files import DecisionFiles
from builders import NOW, signals, spec

KEY = ModelKey("models", "llama")


def played(*values: int | str) -> list[Cycle]:
    previous: Decision | None = None
    cycles = []
    for step, value in enumerate(values):
        now = NOW + timedelta(seconds=5 * step)
        cycles.append(cycle.run(spec(), signals(value=value, at=now), previous=previous, now=now))
        previous = cycles[-1].decision
    return cycles


def test_a_recorded_decision_is_recalled_whole(tmp_path: Path) -> None:
    *_, last = played(5, 20, 20, 8)

    DecisionFiles(tmp_path).record(last)

    assert DecisionFiles(tmp_path).recall(KEY) == last.decision


def test_nothing_is_recalled_of_an_unknown_model(tmp_path: Path) -> None:
    assert DecisionFiles(tmp_path).recall(KEY) is None


def test_a_decision_that_says_nothing_new_is_not_written(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path)
    first, second = played("5.1", "5.2")
    files.record(first)
    (path,) = tmp_path.iterdir()
    path.write_text("untouched")

    files.record(second)

    assert path.read_text() == "untouched"


def test_a_higher_ratio_is_written_but_not_with_every_round(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path)
    rounds = played(1, *range(1, 8), *[7] * 20)

    writes = 0
    for ran in rounds:
        before = [path.stat().st_mtime_ns for path in tmp_path.iterdir()]
        files.record(ran)
        writes += [path.stat().st_mtime_ns for path in tmp_path.iterdir()] != before
    recalled = DecisionFiles(tmp_path).recall(KEY)

    assert writes == 2
    assert recalled is not None
    assert recalled.sight == rounds[-1].decision.sight


def test_a_file_that_cannot_be_understood_is_no_decision(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path)
    files.record(played(20)[0])
    (path,) = tmp_path.iterdir()
    path.write_text('{"percentage": 50')

    assert DecisionFiles(tmp_path).recall(KEY) is None


def test_a_forgotten_model_leaves_no_file(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path)
    files.record(played(20)[0])

    files.forget(KEY)

    assert list(tmp_path.iterdir()) == []


def test_models_with_similar_names_are_kept_apart(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path)
    one = played(20)[0]
    other = replace(one, spec=spec(key=ModelKey("models", "llama.b")))

    files.record(one)
    files.forget(other.spec.key)

    assert files.recall(KEY) == one.decision


def test_at_rest_only_the_history_is_kept(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path)
    *_, last = played(5, 20, 20)
    files.record(last)

    files.keep_only_history(NOW)

    rested = DecisionFiles(tmp_path).recall(KEY)
    assert rested is not None
    assert (rested.percentage, rested.shares) == (0, (Share(NOW, 0),))
    assert [(change.percentage, change.reason) for change in rested.history] == [
        (100, Reason.METRIC_ABOVE_TARGET),
        (0, Reason.RELEASED),
    ]
    assert rested.sight == last.decision.sight


def test_at_rest_nothing_is_kept_of_a_model_without_a_history(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path)
    files.record(played(5)[0])

    files.keep_only_history(NOW)

    assert list(tmp_path.iterdir()) == []


def test_a_decision_that_can_not_be_written_ends_no_round_and_is_written_later(tmp_path: Path) -> None:
    """A full disk kept every round from being told to anybody."""
    folder = tmp_path / "decisions"
    folder.write_text("no folder")
    files = DecisionFiles(folder)
    first, second = played(20, 20)

    files.record(first)
    said = [str(problem) for problem in files.problems]
    files.forget(KEY)
    files.record(first)
    folder.unlink()
    files.record(second)

    assert len(said) == 1
    assert said[0].startswith("models/llama: the decision can't be stored for the next start: ")
    assert files.problems == ()
    assert DecisionFiles(folder).recall(KEY) == second.decision


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path / "state" / "decisions")
    first, second = played(5, 20)
    files.record(first)
    shutil.rmtree(tmp_path / "state")

    files.record(second)

    assert files.recall(KEY) == second.decision


def test_after_the_clock_was_set_back_it_is_written_as_soon_as_it_says_something_new(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path)
    rounds = played(1, 2)
    files.record(rounds[0])

    files.record(replace(rounds[1], at=NOW - timedelta(hours=1)))

    assert files.recall(KEY) == rounds[1].decision


def spending(*tokens: int | None) -> list[Cycle]:
    """Play a round each 5 s, in which a gateway has counted so many tokens of the remote, or none has answered yet."""
    remote = RemoteBackend(Scheme.HTTPS, "api.example.com", 443)
    cycles: list[Cycle] = []
    for step, each in enumerate(tokens):
        now = NOW + timedelta(seconds=5 * step)
        counted = UsageReading({} if each is None else {"gateway": {"": Usage(1, each)}})
        previous = cycles[-1].decision if cycles else None
        read = replace(signals(at=now), usage=counted)
        cycles.append(cycle.run(spec(remote=remote), read, previous=previous, now=now))
    return cycles


def test_what_was_spent_is_written_at_most_once_a_minute(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path)

    recorded = []
    for ran in spending(*range(0, 250, 10)):
        files.record(ran)
        recalled = files.recall(KEY)
        assert recalled is not None
        recorded.append(recalled.ledger.accounts[0].total.input_tokens)

    assert recorded == [0] * 12 + [120] * 12 + [240]


def test_an_account_is_written_when_it_is_opened(tmp_path: Path) -> None:
    """Opened once more after a restart, it would leave out what was counted until then."""
    files = DecisionFiles(tmp_path)
    before, opened = spending(None, 10)

    files.record(before)
    files.record(opened)

    recalled = files.recall(KEY)
    assert recalled is not None
    assert [each.remote for each in recalled.ledger.accounts] == [""]


def test_what_was_spent_outlives_a_stop_that_ends_the_gateways(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path)
    files.record(spending(0, 70)[-1])

    files.keep_only_history(NOW)

    recalled = files.recall(KEY)
    assert recalled is not None
    (account,) = recalled.ledger.accounts
    assert (account.total, account.seen) == (Usage(0, 70), ())


def test_at_the_end_the_ledger_is_written_as_it_is(tmp_path: Path) -> None:
    """The next controller may find counters that have begun anew: what was charged within the last minute was forgotten."""
    files = DecisionFiles(tmp_path)
    first, second = played("5.1", "5.1")
    charged = replace(second.decision, ledger=replace(second.decision.ledger, local_requests=7))
    files.record(first)
    files.record(replace(second, decision=charged))

    before = DecisionFiles(tmp_path).recall(KEY)
    files.flush()

    after = DecisionFiles(tmp_path).recall(KEY)
    assert before is not None
    assert after is not None
    assert (before.ledger.local_requests, after.ledger.local_requests) == (0, 7)


def test_nothing_is_written_at_the_end_for_a_removed_model(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path)
    files.record(played(5)[0])
    files.forget(KEY)

    files.flush()

    assert DecisionFiles(tmp_path).recall(KEY) is None
