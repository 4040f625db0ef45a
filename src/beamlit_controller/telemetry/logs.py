"""Logs: one line per change, never one per round; JSON, or aligned text at a terminal."""

import logging
import sys
from fractions import Fraction
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from beamlit_controller.core import printable, wording
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.core.verdict import Unread

OURS = "beamlit_controller"
NOTEWORTHY = frozenset({Reason.OVERRIDDEN, Reason.DISABLED, Reason.METRICS_LOST})
"""Reasons whose beginning and end are logged even if the share stays; others come and go with the metrics."""
CLEARLY = Fraction(20, 100)
"""Fraction by which a cap has to differ from the last one that was logged; smaller steps are frequent."""
Level = Literal["debug", "info", "warning", "error"]


def configure(level: Level, json: bool | None = None) -> None:  # noqa: FBT001 - `configure("info", json=True)` reads well
    """Send all logs to stderr: our own from `level`, those of libraries from warning.

    `json` selects JSON lines; by default they are used unless stderr is a terminal. Every record is one line, except
    for tracebacks at a terminal. Control characters are escaped.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(as_json=as_json)],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_shared()],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OURS).setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def reading_failed(key: ModelKey, what: str, error: Exception) -> None:
    """Log an unexpected error while reading a metric, a server or the pods of a model, with its traceback."""
    log: structlog.stdlib.BoundLogger = structlog.get_logger(OURS)
    log.error("reading failed", model=str(key), what=what, error=repr(error), exc_info=error)


class LogSink:
    """Logs changes: decisions, caps, metrics that become unreadable or readable, rounds that fail or recover."""

    def __init__(self) -> None:
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(OURS)
        self._missing: dict[ModelKey, dict[MetricSpec, Missing]] = {}
        self._failures: dict[ModelKey, str] = {}
        self._caps: dict[ModelKey, Fraction] = {}

    def record(self, cycle: Cycle) -> None:
        """Log what changed in this round."""
        key = cycle.spec.key
        if cycle.changed:
            self._log_decision(cycle)
        self._log_cap(cycle)
        missing = {each.metric: each.missing for each in cycle.verdict.metrics if isinstance(each, Unread)}
        if missing or key in self._missing:
            self._log_metrics(cycle, missing)
        if self._failures.pop(key, None) is not None:
            self._log.info("round recovered", model=str(key))

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Log the error with its traceback, once while rounds keep failing in the same way."""
        said = repr(error)
        if self._failures.get(key) != said:
            self._failures[key] = said
            self._log.error("round failed", model=str(key), error=said, exc_info=error)

    def forget(self, key: ModelKey) -> None:
        """Log that the model was removed."""
        self._missing.pop(key, None)
        self._failures.pop(key, None)
        self._caps.pop(key, None)
        self._log.info("model removed", model=str(key))

    def _log_decision(self, cycle: Cycle) -> None:
        decision, before = cycle.decision, cycle.previous
        moved = before is None or before.percentage != decision.percentage
        noteworthy = moved or not NOTEWORTHY.isdisjoint({decision.reason, before.reason if before else decision.reason})
        self._log.log(
            logging.INFO if noteworthy else logging.DEBUG,
            "decision changed" if moved else "reason changed",
            model=str(cycle.spec.key),
            percentage=decision.percentage,
            previous=before.percentage if before else None,
            reason=str(decision.reason),
            message=decision.message,
            **({"dry_run": True} if cycle.spec.behavior.dry_run else {}),
        )

    def _log_cap(self, cycle: Cycle) -> None:
        """Log a cap that is clearly another one. The message of a changed decision has the first cap."""
        key, decision = cycle.spec.key, cycle.decision
        cap, before = decision.cap, self._caps.get(key)
        if not cap:
            self._caps.pop(key, None)
        elif before is None:
            self._caps[key] = cap
        elif abs(cap - before) >= CLEARLY * before:
            self._caps[key] = cap
            said = {"reason": str(decision.reason), "message": decision.message}
            self._log.info("cap changed", model=str(key), cap=float(cap), previous=float(before), **said)

    def _log_metrics(self, cycle: Cycle, missing: dict[MetricSpec, Missing]) -> None:
        key = cycle.spec.key
        before = self._missing.pop(key, {})
        if missing:
            self._missing[key] = missing
        for metric, why in missing.items():
            if metric not in before or before[metric].reason != why.reason:
                said = {"reason": str(why.reason), "message": why.message}
                self._log.warning("metric unavailable", model=str(key), metric=wording.name(metric), **said)
        for metric in cycle.spec.metrics:
            if metric in before and metric not in missing:
                self._log.info("metric available again", model=str(key), metric=wording.name(metric))


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def _rendering(*, as_json: bool) -> list[Processor]:
    if as_json:
        return [_ordered, structlog.processors.JSONRenderer()]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [_escaped, console]


def _ordered(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def _escaped(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: _harmless(key, value) for key, value in event.items()}


def _harmless(key: str, value: object) -> object:
    if not isinstance(value, str):
        return value  # the console shows its repr
    match key:
        case "exception":
            return printable.lines(value)
        case "event" | "level" | "timestamp":
            return printable.line(value)
        case _:
            return value if printable.line(value) == value else _Quoted(value)


class _Quoted:
    """Text that the console renderer shows as its repr; by default it quotes only text with blanks."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)
