"""The strategies of Fixed and Proportional mode, which determine how the share follows a metric."""

from beamlit_controller.core.fixed import Fixed
from beamlit_controller.core.proportional import Proportional
from beamlit_controller.core.spec import Behavior, Mode

Strategy = Fixed | Proportional


def of(behavior: Behavior) -> Strategy:
    """Return the strategy of the mode; for Adaptive mode, which decides a cap rather than a share, that of Fixed."""
    match behavior.mode:
        case Mode.PROPORTIONAL:
            return Proportional(behavior)
        case Mode.FIXED | Mode.ADAPTIVE:
            return Fixed(behavior)
