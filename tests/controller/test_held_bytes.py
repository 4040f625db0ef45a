"""How many bytes of responses may be held at once, and by whom."""

from beamlit_controller.controller.held_bytes import HeldBytes


def test_one_owner_may_hold_as_much_as_it_leaves_to_the_next() -> None:
    held = HeldBytes(900)

    with held.of("a") as holding:
        assert holding.take(400)
        assert holding.take(50)
        assert not holding.take(1)
        with held.of("b") as another:
            assert another.take(225)
            assert not another.take(1)

    assert held.total == 0


def test_what_an_owner_holds_in_several_places_counts_together() -> None:
    held = HeldBytes(900)

    with held.of("a") as holding, held.of("a") as another:
        assert holding.take(300)
        assert not another.take(151)
        assert another.take(150)


def test_however_many_owners_take_what_they_can_the_next_one_gets_something_and_the_limit_holds() -> None:
    held = HeldBytes(100_000)

    def fill(owner: int) -> None:
        if owner == 50:
            return
        with held.of(owner) as holding:
            taken = sum(100 for _ in range(1000) if holding.take(100))
            assert taken > 0 or owner > 8
            assert held.total <= 100_000
            fill(owner + 1)

    fill(0)

    assert held.total == 0


def test_what_was_refused_is_not_held() -> None:
    held = HeldBytes(100)

    with held.of("a") as holding:
        assert not holding.take(51)
        assert held.total == 0
        assert holding.take(50)
        assert held.total == 50


def test_each_owner_gets_the_floor_whatever_the_others_hold() -> None:
    held = HeldBytes(1_000, floor=100)

    assert held.add("a", 500)
    assert held.add("b", 250)
    assert held.add("c", 125)
    assert held.add("d", 100)
    assert not held.add("d", 1)
    assert held.add("e", 100)
