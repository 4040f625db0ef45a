"""Mistakes and notices: their location and wording. Converts pydantic's errors."""

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic_core import ErrorDetails

from beamlit_controller.core import printable
from beamlit_controller.core.spec import Rejected


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the document or file, the field, and what was expected and given."""

    where: str
    field: str
    message: str

    def __str__(self) -> str:
        return printable.line(": ".join(part for part in (self.where, self.field, self.message) if part))


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to know about a valid manifest, such as a field without effect."""

    field: str
    message: str

    def __str__(self) -> str:
        return printable.line(f"{self.field}: {self.message}" if self.field else self.message)


def rejected(errors: Iterable[ErrorDetails], root: Sequence[str | int] = ()) -> tuple[Rejected, ...]:
    """Convert pydantic's errors."""
    return tuple(Rejected(path((*root, *_shown(error["loc"]))), worded(error)) for error in errors)


def path(location: Sequence[str | int]) -> str:
    """Format a location as users write it: `spec.offloadingConfig.metrics[1].resource.target`."""
    text = ""
    for part in location:
        if isinstance(part, str) and _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{printable.line(str(part)[:_LONGEST_KEY])}]"
    return text


def worded(error: ErrorDetails) -> str:
    """Describe what was expected and what was given."""
    given, context = error["input"], error.get("ctx", {})
    words = _WORDS.get(error["type"])
    return words(given, context) if words else f"{error['msg']}, got {came(given)}"


def unknown_field(name: object, known: Collection[str]) -> str:
    """Describe an unknown field."""
    if (outdated := _OUTDATED.get(str(name))) and outdated.partition(".")[0] in known:
        return f"autoscaling/v2beta1 had this field; since v2 it is {outdated}: `beamlit-controller convert FILE` rewrites it"
    if "awsConfig" in known and str(name).startswith(("google", "serviceAccount")):
        return _GOOGLE_KEY
    return f"no such field, {nearest(str(name), known)}"


_GOOGLE_KEY = (
    "no such field: a service account's key file can't be used, because Envoy makes no RSA signatures. Use type google, which takes the "
    "service account of the machine or of workload identity, or type apiKey with an access token that a job renews in the Secret"
)

# Fields of autoscaling/v2beta1, and their successors.
_OUTDATED = {
    "metricName": "metric.name",
    "metricSelector": "metric.selector",
    "selector": "metric.selector",
    "targetValue": "target.value",
    "targetAverageValue": "target.averageValue",
    "targetAverageUtilization": "target.averageUtilization",
    "averageValue": "target.averageValue",
}


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggest the most similar known word, or list them all: `did you mean percentage?`."""
    names = sorted(known)
    return like(word, names) or f"known here: {', '.join(names)}"


def like(word: str, known: Iterable[str]) -> str:
    """Return the most similar known word; "" if none is similar."""
    by_lower, given = {name.lower(): name for name in known}, word.lower()[:_LONGEST_KEY]
    begun = [name for name in by_lower if len(given) >= _SHORTEST_BEGINNING and name.startswith(given)]
    close = difflib.get_close_matches(given, by_lower, n=1) or (begun if len(begun) == 1 else [])
    return f"did you mean {by_lower[close[0]]}?" if close else ""


def came(value: object) -> str:
    """Format the given value; for a long or composed value only its kind, so that no secret is repeated at length."""
    match value:
        case bool():
            return json.dumps(value)
        case int() | float() if not abs(value) <= _LARGEST_SHOWN:  # nor NaN
            return "a number out of range"
        case int() | float():
            return repr(value)
        case str() if len(value) <= _LONGEST_SHOWN:
            return printable.line(json.dumps(value, ensure_ascii=False))
        case _:
            return kind(value)


def kind(value: object) -> str:
    """Return the kind of a value in terms that users know."""
    return _KINDS.get(type(value), "something else")


Context = Mapping[str, object]
Words = Callable[[object, Context], str]


def _bound(text: str, name: str) -> Words:
    return lambda given, context: f"expected {text} {context[name]}, got {came(given)}"


def _length(text: str, name: str) -> Words:
    return lambda _, context: f"expected {text.format(context[name])}"


def _too_long(given: object, context: Context) -> str:
    return f"expected at most {context['max_length']} {'characters' if isinstance(given, str) else 'entries'}"


def _composed(wanted: str) -> Words:
    return lambda given, _: f"expected {wanted}, got {kind(given)}"


def _scalar(wanted: str, unquoted: str) -> Words:
    """Describe a wrong type; mention it if the value would be right without its quotes."""

    def words(given: object, _: Context) -> str:
        quoted = isinstance(given, str) and re.fullmatch(unquoted, given, re.ASCII | re.IGNORECASE)
        return f"expected {wanted}, got {came(given)}" + ("; remove the quotes" if quoted else "")

    return words


def _text(given: object, _: Context) -> str:
    quotable = isinstance(given, bool | int | float)
    return f"expected text, got {kind(given)}" + ("; put it in quotes" if quotable else "")


def _one_of(given: object, context: Context) -> str:
    known = re.findall(r"'([^']*)'", str(context["expected"]))
    hint = like(given, known) if isinstance(given, str) else ""
    return "; ".join(filter(None, (f"expected one of {', '.join(known)}, got {came(given)}", hint)))


def _shown(location: Iterable[str | int]) -> tuple[str | int, ...]:
    """Remove what pydantic adds to the location of a mapping's key."""
    return tuple(part for part in location if part != "[key]")


_WORDS: Mapping[str, Words] = {
    "mistake": lambda _, context: str(context["message"]),
    "value_error": lambda _, context: str(context["error"]),
    "missing": lambda _, __: "required, but not given",
    "literal_error": _one_of,
    "model_type": _composed("a mapping"),
    "dict_type": _composed("a mapping"),
    "list_type": _composed("a list"),
    "string_type": _text,
    "bool_type": _scalar("true or false", "true|false"),
    "int_type": _scalar("a whole number", "[+-]?[0-9]{1,18}"),
    "int_from_float": _scalar("a whole number", "(?!)"),
    "float_type": _scalar("a number", r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?"),
    "finite_number": _scalar("a finite number", "(?!)"),
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than_equal": _bound("at most", "le"),
    "string_too_long": _length("at most {} characters", "max_length"),
    "string_pattern_mismatch": lambda _, context: f"expected text that matches {context['pattern']}",
    "too_short": _length("at least {} in the list", "min_length"),
    "too_long": _too_long,
}
_KINDS: Mapping[type, str] = {
    type(None): "nothing",
    dict: "a mapping",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
}
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_LONGEST_SHOWN = 60
_LONGEST_KEY = 100
_SHORTEST_BEGINNING = 3
_LARGEST_SHOWN = 10**30
