"""That what shares one thing stays on one process."""

import pytest

from lanes import NODE, asked_for, lane


def test_every_test_on_the_node_is_in_its_lane(request: pytest.FixtureRequest) -> None:
    strays = {
        item.nodeid
        for item in request.session.items
        # The node takes root; a parameter may have its name, too.
        if {"node", "takes_root"} <= set(asked_for(item)) and lane(item.nodeid) != NODE
    }

    assert strays == set(), "name their files in lanes.ON_THE_NODE"
