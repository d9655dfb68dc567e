"""What must wait keeps the later messages of its patients; nobody else's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7.lanes import Lanes


@dataclass(frozen=True, eq=False)
class One:
    name: str
    lanes: tuple[str, ...]


def names(several: list[One]) -> list[str]:
    return [one.name for one in several]


def test_what_is_tried_again_keeps_the_later_ones_of_its_patient_and_no_other() -> None:
    lanes: Lanes[One] = Lanes()
    first, second, other = One("first", ("p",)), One("second", ("p",)), One("other", ("q",))
    lanes.put_off(first, until=10.0)
    assert (lanes.keeps(second), lanes.keeps(other), len(lanes), lanes.next_due()) == (True, False, 2, 10.0)
    assert (names(lanes.take(9.0)), names(lanes.take(10.0)), len(lanes)) == ([], ["first", "second"], 0)
    assert lanes.next_due() is None


def test_a_message_about_two_patients_waits_for_both_and_keeps_both() -> None:
    lanes: Lanes[One] = Lanes()
    lanes.put_off(One("p", ("p",)), until=1.0)
    assert lanes.keeps(One("merge", ("p", "q")))
    assert lanes.keeps(One("q", ("q",))), "what comes after the merge waits for it"
    assert names(lanes.take(1.0)) == ["p", "merge", "q"]


def test_a_lane_that_is_held_back_is_free_once_it_is_let_go() -> None:
    lanes: Lanes[One] = Lanes(held={"p": "some message"})
    assert lanes.keeps(One("later", ("p",)))
    assert not lanes.keeps(One("other", ("q",)))
    assert names(lanes.take(1e9)) == []
    lanes.hold({})
    assert names(lanes.take(1e9)) == ["later"]


@pytest.mark.parametrize("again", [pytest.param(1, id="once"), pytest.param(3, id="three times")])
def test_what_fails_again_is_first_again(again: int) -> None:
    lanes: Lanes[One] = Lanes()
    first = One("first", ("p",))
    lanes.put_off(first, until=1.0)
    lanes.keeps(One("second", ("p",)))
    for number in range(again):
        free = lanes.take(1.0 + number)
        assert names(free) == ["first", "second"]
        lanes.put_off(free[0], until=2.0 + number)
        assert lanes.keeps(free[1])
    assert names(lanes.take(100.0)) == ["first", "second"]


@given(st.lists(st.tuples(st.sets(st.sampled_from("pqr"), min_size=1), st.booleans()), max_size=12), st.integers(1, 4))
def test_each_lane_keeps_its_order_whatever_fails(plan: list[tuple[set[str], bool]], tries: int) -> None:
    """Messages that fail some times end in the order in which they came, in each lane."""
    lanes: Lanes[One] = Lanes()
    ready = [One(str(number), tuple(sorted(of))) for number, (of, _) in enumerate(plan)]
    left = {str(number): tries if fails else 0 for number, (_, fails) in enumerate(plan)}
    done: list[One] = []
    for now in range(1_000):
        ready = [*lanes.take(float(now)), *ready]
        if not ready:
            break
        one, ready = ready[0], ready[1:]
        if lanes.keeps(one):
            continue
        if left[one.name]:
            left[one.name] -= 1
            lanes.put_off(one, until=now + 2.0)
        else:
            done.append(one)
    while (freed := lanes.take(1e9)) or len(lanes):
        done += freed
    for lane in "pqr":
        order = [int(one.name) for one in done if lane in one.lanes]
        assert order == sorted(order)
    assert len(done) == len(plan)
