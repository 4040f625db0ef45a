"""The base class of everything users write: strict, without unknown fields, reporting all mistakes at once.

Pydantic stops at the first failing stage of a model: cross-field rules are not checked while a field is invalid.
Therefore each model checks unknown fields, empty fields and its rules on the raw input, and adds pydantic's own errors.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar, Self, get_origin

from pydantic import BaseModel, ConfigDict, JsonValue, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import InitErrorDetails, PydanticCustomError

from beamlit_controller.api import problems
from beamlit_controller.api.rules import Mistake, Rule


def _with_rules(schema: JsonDict, model: type[BaseModel]) -> None:
    """Add the cross-field rules to the schema, as CEL."""
    rules = model.rules if issubclass(model, StrictModel) else ()
    validations: list[JsonValue] = [{"rule": cel.rule, "message": cel.message} for rule in rules for cel in rule.cel()]
    if validations:
        schema["x-kubernetes-validations"] = validations


class StrictModel(BaseModel):
    """A mapping with known fields, none of them null."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=to_camel, json_schema_extra=_with_rules
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Return the names of the fields as users write them."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Yield the mistakes between fields; override it where the declared rules don't suffice."""
        for rule in cls.rules:
            yield from rule.mistakes(given)

    @model_validator(mode="wrap")
    @classmethod
    def _every_mistake(cls, given: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, Mapping):
            return handler(given)
        empty = {key for key, value in given.items() if value is None}
        known = {key: value for key, value in given.items() if key in cls.fields() and key not in empty}
        found = [*cls._unknown(given), *cls._empty(empty), *cls._long_keys(known), *cls.mistakes(known)]
        try:
            model = handler(known)
        except ValidationError as error:
            raise cls._all(found, error, empty) from None
        if found:
            raise cls._all(found, None, empty)
        return model

    @classmethod
    def _unknown(cls, given: Mapping[object, object]) -> Iterator[Mistake]:
        unknown = [key for key in given if key not in cls.fields()]
        for key in unknown[:_MOST_UNKNOWN]:
            yield Mistake((str(key),), problems.unknown_field(key, cls.fields()))
        if len(unknown) > _MOST_UNKNOWN:
            yield Mistake((), f"{len(unknown) - _MOST_UNKNOWN} more unknown fields")

    @classmethod
    def _empty(cls, empty: set[object]) -> Iterator[Mistake]:
        for name in cls.fields():
            if name in empty:
                yield Mistake((name,), "nothing is given; write a value or remove the line")

    @classmethod
    def _long_keys(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        for name, field in cls.model_fields.items():
            entries = given.get(field.alias or name)
            if get_origin(field.annotation) is dict and isinstance(entries, Mapping):
                long = (key for key in entries if isinstance(key, str) and len(key) > _LONGEST_KEY)
                for key in islice(long, _MOST_UNKNOWN):
                    message = f"expected a name of at most {_LONGEST_KEY} characters, got {len(key)}"
                    yield Mistake((field.alias or name, key), message)

    @classmethod
    def _all(cls, found: list[Mistake], error: ValidationError | None, empty: set[object]) -> ValidationError:
        own = [_line(mistake) for mistake in found]
        others = [
            _line(Mistake(details["loc"], problems.worded(details)))
            for details in (error.errors(include_url=False) if error else ())
            if not (details["type"] == "missing" and details["loc"][0] in empty)
        ]
        return ValidationError.from_exception_data(cls.__name__, own + others)


_MOST_UNKNOWN = 20
_LONGEST_KEY = 1024


def _line(mistake: Mistake) -> InitErrorDetails:
    kind = PydanticCustomError("mistake", "{message}", {"message": mistake.message})
    return InitErrorDetails(type=kind, loc=mistake.at, input=None)
