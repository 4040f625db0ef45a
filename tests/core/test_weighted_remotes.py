"""Which remotes are equals, and for which part of the requests one is passed over."""

import pytest

import builders
from beamlit_controller.core import weighted_remotes
from beamlit_controller.core.spec import RemoteBackend, Scheme


@pytest.mark.parametrize(
    ("weights", "after"),
    [
        ((None, None), (0, 0)),
        ((3, 1), (1, 0)),
        ((2, 3, 5), (8, 5, 0)),
        ((1, None, 1), (0, 0, 0)),
        ((None, 1, 1), (0, 1, 0)),
        ((1, 1, None, 2, 3), (1, 0, 0, 3, 0)),
    ],
)
def test_a_remote_is_passed_over_for_the_neighbours_after_it_that_have_a_weight(
    weights: tuple[int | None, ...], after: tuple[int, ...]
) -> None:
    first, *rest = (
        RemoteBackend(Scheme.HTTP, "10.0.0.9", 80, weight=weight, name=str(number))
        for number, weight in enumerate(weights)
    )
    spec = builders.spec(remote=first, next_remotes=tuple(rest))

    assert tuple(weighted_remotes.weight_after(spec, each) for each in spec.remotes) == after
    assert weighted_remotes.passed_over(spec) == tuple(
        each for each, others in zip(spec.remotes, after, strict=True) if others
    )


@pytest.mark.parametrize(
    ("weights", "groups"),
    [
        ((None,), [(0,)]),
        ((None, None), [(0,), (1,)]),
        ((2, 3, 5), [(0, 1, 2)]),
        ((1, None, 1), [(0,), (1,), (2,)]),
        ((1, 1, None, None, 2, 3), [(0, 1), (2,), (3,), (4, 5)]),
    ],
)
def test_adjacent_remotes_with_weights_are_a_group(
    weights: tuple[int | None, ...], groups: list[tuple[int, ...]]
) -> None:
    assert list(weighted_remotes.groups(weights)) == groups
