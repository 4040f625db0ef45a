"""Tells which of a model's remotes requests can go to now: not those whose budget is spent, or that fail."""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from beamlit_controller.api.models_view import BudgetView, ModelView, RemoteView
from beamlit_controller.core import weighted_remotes

NOWHERE = "nowhere: there is no remote backend"


def hosts(model: ModelView) -> str:
    """Return the hosts of the remotes that requests can go to now: `a, then b`, `a and b by weight, then c`; "" if there is none."""
    if not model.remotes and model.remote is None:
        return NOWHERE
    return ", then ".join(map(_together, _usable(model)))


def first_host(model: ModelView) -> str:
    """Return the host of the first remote that requests can go to now, or of all that share them; "" if there is none."""
    return next(map(_together, _usable(model)), "")


def _together(remotes: Sequence[RemoteView]) -> str:
    *others, last = (urlsplit(each.address).netloc for each in remotes)
    return f"{', '.join(others)} and {last} by weight" if others else last


def spent(model: ModelView) -> Mapping[str, BudgetView]:
    """Return the budgets that are spent, by the name of the remote."""
    return {each.name: each.budget for each in model.spending if each.budget and each.budget.spent}


def used(budget: BudgetView) -> str:
    """Format the used part of a budget: `187 of 150 requests per day used`."""
    unit = "" if budget.unit == "Cost" else f" {budget.unit.lower()}"
    return f"{budget.used} of {budget.amount}{unit} per {budget.per.lower()} used"


def _usable(model: ModelView) -> Iterator[Sequence[RemoteView]]:
    """Yield the remotes that requests can go to, in the order in which they are tried; those that share requests together."""
    remotes = model.remotes or (RemoteView(name="", address=model.remote or ""),)
    for group in weighted_remotes.groups([each.weight for each in remotes]):
        usable = [remotes[index] for index in group if _is_usable(model, remotes[index].name)]
        if usable:
            yield usable


def _is_usable(model: ModelView, name: str) -> bool:
    gateway = model.gateway or {}
    conditions = gateway.get("remotes") if model.remotes else {"": gateway.get("remote")}
    known = conditions.get(name) if isinstance(conditions, Mapping) else None
    fails = isinstance(known, Mapping) and known.get("status") == "False"
    return not fails and name not in spent(model)
