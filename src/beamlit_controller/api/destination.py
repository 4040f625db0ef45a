"""Tells which of a model's remotes requests can go to now: not those whose budget is spent, or that fail."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from beamlit_controller.api.models_view import BudgetView, ModelView

NOWHERE = "nowhere: there is no remote backend"


def hosts(model: ModelView) -> str:
    """Return the hosts of the remotes that requests can go to now, in order; "" if they all fail or have spent their budget."""
    if not model.remotes and model.remote is None:
        return NOWHERE
    return ", then ".join(urlsplit(address).netloc for address in _usable(model))


def first_host(model: ModelView) -> str:
    """Return the host of the first remote that requests can go to now; "" if there is none."""
    return next((urlsplit(address).netloc for address in _usable(model)), "")


def spent(model: ModelView) -> Mapping[str, BudgetView]:
    """Return the budgets that are spent, by the name of the remote."""
    return {each.name: each.budget for each in model.spending if each.budget and each.budget.spent}


def used(budget: BudgetView) -> str:
    """Format the used part of a budget: `187 of 150 requests per day used`."""
    unit = "" if budget.unit == "Cost" else f" {budget.unit.lower()}"
    return f"{budget.used} of {budget.amount}{unit} per {budget.per.lower()} used"


def _usable(model: ModelView) -> Iterator[str]:
    gateway = model.gateway or {}
    conditions = gateway.get("remotes") if model.remotes else {"": gateway.get("remote")}
    listed = [(each.name, each.address) for each in model.remotes] or [("", model.remote or "")]
    for name, address in listed:
        known = conditions.get(name) if isinstance(conditions, Mapping) else None
        fails = isinstance(known, Mapping) and known.get("status") == "False"
        if not fails and name not in spent(model):
            yield address
