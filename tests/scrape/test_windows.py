"""How much of the servers' histograms is remembered."""

from datetime import timedelta
from fractions import Fraction

from beamlit_controller.controller.held_bytes import HeldBytes
from beamlit_controller.core.metric_spec import AverageValue, PodsMetric, SeriesSelector
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.scrape import histogram
from beamlit_controller.scrape.histogram import BucketSeries, HistogramWindow
from beamlit_controller.scrape.windows import Windows
from builders import NOW

KEY = ModelKey("a", "b")
ONE, OTHER = (PodsMetric(SeriesSelector(name), AverageValue(1_000)) for name in ("one", "other"))


def window(buckets: int) -> HistogramWindow:
    series = [BucketSeries(frozenset({("le", str(bound))}), bound, Fraction(1)) for bound in range(buckets)]
    return histogram.scraped(None, series, NOW, timedelta(seconds=60))


SMALL = window(10)


def test_a_window_for_which_there_is_no_room_is_dropped_with_the_one_before() -> None:
    held = HeldBytes(4 * SMALL.size)
    windows = Windows(held, KEY)

    assert windows.put("server", ONE, SMALL)
    assert not windows.put("server", ONE, window(30))
    assert windows.get("server", ONE) is None
    assert held.total == 0


def test_the_windows_of_all_servers_and_metrics_count_together() -> None:
    held = HeldBytes(4 * SMALL.size)
    windows = Windows(held, KEY)

    assert windows.put("server", ONE, SMALL)
    assert windows.put("another", ONE, SMALL)
    assert not windows.put("another", OTHER, SMALL)
    assert windows.put("another", ONE, SMALL)
    assert Windows(held, ModelKey("a", "other")).put("server", ONE, SMALL)


def test_what_is_no_longer_needed_takes_no_memory() -> None:
    held = HeldBytes()
    windows = Windows(held, KEY)
    for server in ("one", "two"):
        for metric in (ONE, OTHER):
            windows.put(server, metric, SMALL)

    windows.keep(["one", "new"])
    windows.keep_metrics("one", [OTHER])

    assert windows.get("one", OTHER) == SMALL
    assert windows.get("one", ONE) is None
    assert windows.get("two", OTHER) is None
    assert held.total == SMALL.size
    windows.keep(())
    assert held.total == 0
