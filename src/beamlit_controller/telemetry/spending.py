"""The Prometheus metrics of what remotes cost: tokens, money and budgets."""

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from beamlit_controller.core import spending, spending_text
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.spec import ModelKey, RemoteBackend
from beamlit_controller.core.spending import Account
from beamlit_controller.telemetry.exposition import MODEL_LABELS

Row = tuple[tuple[str, str, str], RemoteBackend, Account, int]
"""The labels namespace, name and remote; the remote, its account, and the responses that local servers gave in the same time."""
LABELS = (*MODEL_LABELS, "remote")


def series(cycles: Iterable[tuple[ModelKey, Cycle]]) -> Iterator[Metric]:
    """Create the series; a remote without a price or a budget has none of these."""
    rows = [
        ((key.namespace, key.name, remote.name), remote, account, cycle.decision.ledger.local_requests)
        for key, cycle in cycles
        for remote, account in spending_text.pairs(cycle.spec, cycle.decision.ledger)
    ]
    return iter((_tokens(rows), _unread(rows), *_costs(rows), _budgets(rows)))


def _tokens(rows: list[Row]) -> Metric:
    family = CounterMetricFamily(
        "beamlit_remote_tokens", "Tokens reported by the remote.", labels=(*LABELS, "direction")
    )
    for labels, _, account, _ in rows:
        family.add_metric((*labels, "input"), account.total.input_tokens)
        family.add_metric((*labels, "output"), account.total.output_tokens)
    return family


def _unread(rows: list[Row]) -> Metric:
    family = CounterMetricFamily(
        "beamlit_remote_answers_unread", "Requests to the remote whose token usage could not be read.", labels=LABELS
    )
    for labels, _, account, _ in rows:
        family.add_metric(labels, account.total.unread)
    return family


def _costs(rows: list[Row]) -> Iterator[Metric]:
    cost = CounterMetricFamily(
        "beamlit_remote_cost", "Cost of the requests to the remote, by its price.", labels=(*LABELS, "currency")
    )
    without_local = GaugeMetricFamily(
        "beamlit_cost_without_local",
        "Estimated cost if this remote had served the local requests as well, by the mean cost of its responses.",
        labels=(*LABELS, "currency"),
    )
    for labels, remote, account, local in rows:
        if remote.price is not None:
            cost.add_metric((*labels, account.currency), float(account.cost))
            estimate = spending.without_local(account, local)
            if estimate is not None:
                without_local.add_metric((*labels, account.currency), float(estimate))
    return iter((cost, without_local))


def _budgets(rows: list[Row]) -> Metric:
    family = GaugeMetricFamily(
        "beamlit_remote_budget_used_ratio", "Used fraction of the remote's budget in the current period.", labels=LABELS
    )
    for labels, remote, account, _ in rows:
        if remote.budget is not None:
            family.add_metric(labels, float(spending.used(account, remote.budget) / remote.budget.amount))
    return family
