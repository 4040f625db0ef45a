"""Regular expressions of texts that don't begin or end with certain words: RE2 has no negative look-around."""

from collections.abc import Iterable, Mapping


def not_beginning(words: Iterable[str], *, letters: str = "") -> str:
    """Match texts, of these letters (in order) or of any, that don't begin with one of these words."""
    after: dict[str, list[str]] = {}
    for word in words:
        after.setdefault(word[0], []).append(word[1:])
    others = f"{_other(after, letters)}{_any_of(letters) if letters else '.'}*"
    longer = [first + not_beginning(rest, letters=letters) for first, rest in after.items() if "" not in rest]
    return f"(?:{'|'.join((others, *longer))})?"


def not_ending(words: Iterable[str]) -> str:
    """Match texts that don't end with one of these words."""
    before: dict[str, list[str]] = {}
    for word in words:
        before.setdefault(word[-1], []).append(word[:-1])
    longer = [not_ending(rest) + last for last, rest in before.items() if "" not in rest]
    others = f".*{_other(before, '')}"
    return f"(?:{'|'.join((others, *longer))})?"


def _other(than: Mapping[str, object], letters: str) -> str:
    """Match any other character; a `-` stands last, where it is no range."""
    if letters:
        return _any_of("".join(letter if letter not in than else " " for letter in letters))
    return f"[^{''.join(sorted(than, key='-'.__eq__))}]"


def _any_of(runs: str) -> str:
    """Match any of these letters; runs of successive ones are separated by blanks."""
    return f"[{''.join(run if len(run) < _SHORT else f'{run[0]}-{run[-1]}' for run in runs.split())}]"


_SHORT = 4
