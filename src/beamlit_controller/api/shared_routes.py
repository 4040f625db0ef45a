"""What `check` points out in the routes of listeners that several models share."""

from collections.abc import Iterator, Mapping

from beamlit_controller.api.problems import Notice
from beamlit_controller.api.settings import SharedListener, SharedRoute


def notices(listeners: Mapping[str, SharedListener]) -> Iterator[Notice]:
    """Point out routes that no request reaches, because an earlier one matches all of their requests."""
    for name, listener in listeners.items():
        for index, route in enumerate(listener.routes):
            earlier = next(
                (at for at, other in enumerate(listener.routes[:index]) if _takes_all_of(other, route)), None
            )
            if earlier is not None:
                field = f"config.standalone.sharedListeners.{name}.routes"
                message = (
                    f"never reached: routes[{earlier}] matches all of its requests; move it before routes[{earlier}]"
                )
                yield Notice(f"{field}[{index}]", message)


def _takes_all_of(one: SharedRoute, other: SharedRoute) -> bool:
    """Return whether every request that matches `other` matches `one`."""
    return (
        one.model in {None, other.model}
        and one.header in {None, other.header}
        and (one.host is None or one.host.lower() == (other.host or "").lower())
        and (one.path_prefix is None or f"{other.path_prefix or ''}/".startswith(f"{one.path_prefix}/"))
    )
