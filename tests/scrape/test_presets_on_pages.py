"""Every preset on the pages of its server, as several versions have them."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import builders
from beamlit_controller.api.presets import PRESETS, WITHOUT_METRICS
from beamlit_controller.core.metric_spec import PodsMetric
from beamlit_controller.scrape import exposition
from beamlit_controller.scrape.exposition import Total
from beamlit_controller.scrape.page import Page

PAGES = Path(__file__).parent / "pages"

# By page: the preset, and what each of its metrics is.
EXPECTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "vllm-0.33": ("vllm", ("7", "0.5")),
    "vllm-0.32": ("vllm", ("12", "0.75")),
    "vllm-0.11-dp8": ("vllm", ("1", "0.15")),
    "vllm-0.10": ("vllm", ("7", "0.3")),
    "vllm-0.8": ("vllm", ("3", "0.25")),
    "vllm-0.6": ("vllm", ("20", "0.1")),
    "sglang-0.5.23": ("sglang", ("2", "0.5")),
    "sglang-0.5.23-priorities": ("sglang", ("2", "0.5")),
    "sglang-0.5.10-priorities": ("sglang", ("2", "0.5")),
    "sglang-0.5.4": ("sglang", ("2", "0.5")),
    "sglang-0.4.9": ("sglang", ("1", "0.4")),
    "sglang-0.5": ("sglang", ("2", "0.5")),
    "sglang-0.4": ("sglang", ("2826", "0.28")),
    "tgi-3.3.7": ("tgi", ("3",)),
    "tgi-3.0.0": ("tgi", ("4",)),
    "tgi-2.4.1": ("tgi", ("5",)),
    "tgi-2.0.4": ("tgi", ("6",)),
    "tgi-1.4.5": ("tgi", ("7",)),
    "tei-1.9.3": ("tei", ("2",)),
    "tei-1.7.0": ("tei", ("3",)),
    "tei-1.5.1": ("tei", ("4",)),
    "tei-1.2.3": ("tei", ("5",)),
    "tei-1.0.0": ("tei", ("6",)),
    "triton-25.10": ("triton", ("4",)),
    "triton-25.04": ("triton", ("5",)),
    "triton-24.10": ("triton", ("6",)),
    "triton-24.04": ("triton", ("7",)),
    "triton-23.10": ("triton", ("8",)),
    "triton-trtllm-25": ("triton-trtllm", ("6", "0.488")),
    "trtllm-1": ("trtllm", ("9", "0.62")),
    "nim-1": ("nim", ("8", "0.3")),
    "lmdeploy-0.16.0": ("lmdeploy", ("6", "0.6")),
    "lmdeploy-0.14.0": ("lmdeploy", ("6", "0.6")),
    "lmdeploy-0.12.0": ("lmdeploy", ("6", "0.6")),
    "lmdeploy-0.10.0": ("lmdeploy", ("6", "0.6")),
    "lmdeploy-0.9.2": ("lmdeploy", ("6", "0.6")),
    "ray-serve-2.60": ("ray-serve", ("9",)),
    "ray-serve-renamed": ("ray-serve", ("9",)),
    "llamacpp-b11434": ("llamacpp", ("2",)),
    "llamacpp-2025": ("llamacpp", ("46",)),
    "llamacpp-2024": ("llamacpp", ("3",)),
    "dcgm-4.5.3": ("dcgm", ("80",)),
    "dcgm-4.2.3": ("dcgm", ("80",)),
    "dcgm-3.3.9": ("dcgm", ("80",)),
    "dcgm-3.1.8": ("dcgm", ("80",)),
    "dcgm-2.4.6": ("dcgm", ("80",)),
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
