"""`pods.metric.histogram` as users write it: a quantile of what a server's histogram observed within a window."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.rules import Cel, Mistake
from beamlit_controller.api.scalars import PositiveQuantity
from beamlit_controller.core import quantity


def _below_one(text: str) -> str:
    if not 0 < quantity.parse(text).milli < 1000:  # noqa: PLR2004 - the whole
        raise ValueError(f"expected a number between 0 and 1 such as 0.95, got {text}")
    return text


class HistogramQuantile(StrictModel):
    """The quantile of a histogram, over a time window."""

    quantile: Annotated[PositiveQuantity, AfterValidator(_below_one)] = Field(
        description="Quantile between 0 and 1, with up to three decimals: 0.95 is the 95th percentile."
    )
    window_seconds: Annotated[int, Field(ge=5, le=600)] = Field(
        default=60, description="Length of the window of observations, in seconds."
    )


class NoAggregationWithHistogram:
    """The series of a histogram are summed by bucket; there is no other aggregation."""

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report the aggregation, and a name with a suffix such as `_bucket`."""
        if given.get("histogram") is None:
            return
        if given.get("aggregation") is not None:
            yield Mistake(("aggregation",), "may not be set together with histogram: its series are added up by bucket")
        name = given.get("name")
        if isinstance(name, str) and name.endswith(_PARTS):
            yield Mistake(("name",), f"expected the histogram's name, without {name[name.rindex('_') :]}, got {name}")

    def cel(self) -> Iterator[Cel]:
        """Check both."""
        yield Cel(
            "!has(self.histogram) || !has(self.aggregation)", "aggregation may not be set together with histogram"
        )


_PARTS = ("_bucket", "_sum", "_count")
