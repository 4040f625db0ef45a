"""Every preset on the pages of its server, as several versions have them."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import builders
from beamlit_controller.api.presets import PRESETS, WITHOUT_METRICS
from beamlit_controller.core.metric_spec import PodsMetric
from beamlit_controller.scrape import exposition
from beamlit_controller.scrape.exposition import Page, Total

PAGES = Path(__file__).parent / "pages"

# By page: the preset, and what each of its metrics is.
EXPECTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "vllm-0.32": ("vllm", ("12", "0.75")),
    "vllm-0.11-dp8": ("vllm", ("1", "0.15")),
    "vllm-0.6": ("vllm", ("20", "0.1")),
    "sglang-0.5": ("sglang", ("2", "0.5")),
    "sglang-0.4": ("sglang", ("2826", "0.28")),
    "tgi-3": ("tgi", ("7",)),
    "tei-1": ("tei", ("6",)),
    "triton-25": ("triton", ("7",)),
    "triton-trtllm-25": ("triton-trtllm", ("6", "0.488")),
    "trtllm-1": ("trtllm", ("9", "0.62")),
    "nim-1": ("nim", ("8", "0.3")),
    "lmdeploy-0.10": ("lmdeploy", ("6", "0.6")),
    "ray-serve-2.60": ("ray-serve", ("9",)),
    "ray-serve-renamed": ("ray-serve", ("9",)),
    "llamacpp-b11434": ("llamacpp", ("2",)),
    "dcgm-4": ("dcgm", ("80",)),
}


def read(page: Page, metric: PodsMetric) -> Decimal:
    names = (metric.metric, *metric.alternatives)
    stale_after = timedelta(seconds=90)
    found = exposition.first(page, names, at=builders.NOW, stale_after=stale_after, aggregation=metric.aggregation)
    assert isinstance(found, Total), found
    return Decimal(found.milli) / 1000


@pytest.mark.parametrize("name", EXPECTED)
def test_the_preset_reads_the_page(name: str) -> None:
    preset, values = EXPECTED[name]
    page = Page((PAGES / f"{name}.txt").read_bytes(), "text/plain; version=0.0.4")

    assert tuple(read(page, metric) for metric in PRESETS[preset]) == tuple(map(Decimal, values))


def test_every_page_and_every_preset_is_tried() -> None:
    assert {page.stem for page in PAGES.glob("*.txt")} == set(EXPECTED)
    assert {preset for preset, _ in EXPECTED.values()} == set(PRESETS) - set(WITHOUT_METRICS)
