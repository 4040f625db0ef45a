"""A clock that tests set."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from builders import NOW


@dataclass
class Clock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()
