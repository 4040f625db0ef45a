"""The remotes of a spec, in the order in which a request tries them."""

import builders
from beamlit_controller.core.spec import RemoteBackend, Scheme

ONE = RemoteBackend(Scheme.HTTPS, "one.example.com", 443, name="one")
TWO = RemoteBackend(Scheme.HTTPS, "two.example.com", 443, name="two")


def test_the_remotes_of_a_spec_are_listed_in_the_order_in_which_they_are_tried() -> None:
    spec = builders.spec(remote=ONE, next_remotes=(TWO,))

    assert spec.remotes == (ONE, TWO)


def test_a_spec_without_a_remote_has_no_remotes() -> None:
    assert builders.spec().remotes == ()
