"""Defaults that a preset implies: the mode, and the status codes with which its server signals that it is full.

They can't be in the CRD, because they depend on another field.
"""

from collections.abc import Iterator

from beamlit_controller.api import presets
from beamlit_controller.api.offloading import BehaviorConfig, Engage, OffloadingConfig, Release
from beamlit_controller.api.problems import Notice
from beamlit_controller.core.spec import Mode

FILLED_IN = 100
"""The `engage.stepPercentage` that the API server filled in by earlier versions of the CRD."""
_BEHAVIOR = "spec.offloadingConfig.behavior"


def mode(config: OffloadingConfig) -> Mode:
    """Return the mode that is set; by default Adaptive with a preset that has metrics, otherwise Fixed."""
    if config.behavior.mode is not None:
        return Mode(config.behavior.mode)
    return Mode.ADAPTIVE if config.preset and presets.PRESETS[config.preset] else Mode.FIXED


def on_status(config: OffloadingConfig) -> tuple[int, ...]:
    """Return the status codes that are set (also an empty list), by default those of the preset's server."""
    if config.overflow.on_status is not None:
        return tuple(config.overflow.on_status)
    return presets.FULL.get(config.preset, ()) if config.preset else ()


def notices(config: OffloadingConfig) -> Iterator[Notice]:
    """Report fields without effect in Adaptive mode, and whether the preset implies that mode.

    Values equal to a default are skipped, because the API server may have filled them in.
    """
    if mode(config) is not Mode.ADAPTIVE:
        return
    implied = "" if config.behavior.mode else ", which preset implies; mode: Fixed or Proportional obeys it"
    for field in _steps(config.behavior):
        yield Notice(f"{_BEHAVIOR}.{field}", f"no effect in Adaptive mode{implied}")


def _steps(behavior: BehaviorConfig) -> Iterator[str]:
    usual = Engage()
    if behavior.engage.step_percentage not in {usual.step_percentage, FILLED_IN}:
        yield "engage.stepPercentage"
    if behavior.engage.period_seconds != usual.period_seconds:
        yield "engage.periodSeconds"
    if behavior.release != Release():
        yield "release"
