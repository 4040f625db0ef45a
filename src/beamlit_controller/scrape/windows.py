"""The histogram windows of a model's servers. Those of all models together are bounded in memory."""

from collections.abc import Collection

from beamlit_controller.controller.held_bytes import HeldBytes
from beamlit_controller.core.metric_spec import PodsMetric
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.scrape.histogram import HistogramWindow


class Windows:
    """The windows by server and metric; `held` counts their memory for the model."""

    def __init__(self, held: HeldBytes, key: ModelKey) -> None:
        self._held = held
        self._key = key
        self._windows: dict[str, dict[PodsMetric, HistogramWindow]] = {}

    def get(self, endpoint: str, metric: PodsMetric) -> HistogramWindow | None:
        """Return the window of a server's metric."""
        return self._windows.get(endpoint, {}).get(metric)

    def put(self, endpoint: str, metric: PodsMetric, window: HistogramWindow) -> bool:
        """Replace the window of a server's metric. If there is no room for the new one, drop both and return False."""
        self._drop(endpoint, metric)
        has_room = self._held.add(self._key, window.size)
        if has_room:
            self._windows.setdefault(endpoint, {})[metric] = window
        return has_room

    def keep(self, endpoints: Collection[str]) -> None:
        """Drop the windows of all other servers."""
        for endpoint in self._windows.keys() - set(endpoints):
            self.keep_metrics(endpoint, ())

    def keep_metrics(self, endpoint: str, metrics: Collection[PodsMetric]) -> None:
        """Drop a server's windows of all other metrics."""
        for metric in self._windows.get(endpoint, {}).keys() - set(metrics):
            self._drop(endpoint, metric)

    def _drop(self, endpoint: str, metric: PodsMetric) -> None:
        of_server = self._windows.get(endpoint, {})
        dropped = of_server.pop(metric, None)
        if dropped is not None:
            self._held.release(self._key, dropped.size)
        if not of_server:
            self._windows.pop(endpoint, None)
