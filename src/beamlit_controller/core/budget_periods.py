"""Computes when the periods of a budget begin, in its time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from beamlit_controller.core.price import Budget, Period


def period_start(budget: Budget, now: datetime) -> datetime:
    """Return the beginning of the current period, in UTC."""
    zone = ZoneInfo(budget.time_zone)
    local = now.astimezone(zone)
    match budget.per:
        case Period.HOUR:
            # Don't compute this from the local hour: it occurs twice when daylight saving time ends.
            past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
            return now.astimezone(UTC) - past
        case Period.DAY:
            return datetime(local.year, local.month, local.day, tzinfo=zone).astimezone(UTC)
        case Period.MONTH:
            return datetime(local.year, local.month, 1, tzinfo=zone).astimezone(UTC)


def period_end(budget: Budget, now: datetime) -> datetime:
    """Return the beginning of the next period, in UTC."""
    begin = period_start(budget, now)
    zone = ZoneInfo(budget.time_zone)
    local = begin.astimezone(zone)
    match budget.per:
        case Period.HOUR:
            return begin + timedelta(hours=1)
        case Period.DAY:
            following = local.date() + timedelta(days=1)
            return datetime(following.year, following.month, following.day, tzinfo=zone).astimezone(UTC)
        case Period.MONTH:
            year, month = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)  # noqa: PLR2004
            return datetime(year, month, 1, tzinfo=zone).astimezone(UTC)


def label(moment: datetime) -> str:
    """Format the beginning of a period so that later ones sort after it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
