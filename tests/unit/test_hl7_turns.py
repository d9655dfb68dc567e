"""Urgent messages go ahead, the order of one patient is kept, nobody waits for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7.turns import CREDIT, EACH, MOST_IN_A_ROW, MOST_SENDERS, Turns


@dataclass(slots=True, eq=False)
class One:
    number: int
    whose: tuple[str, ...]
    is_urgent: bool = False
    sender: str = "s"
    is_taken: bool = False

    def __lt__(self, other: object) -> bool:
        return isinstance(other, One) and self.number < other.number


def waiting(several: Sequence[One]) -> Turns[One]:
    turns: Turns[One] = Turns()
    for one in several:
        turns.add(one)
    return turns


def taken(turns: Turns[One], most: int = 1_000_000) -> list[int]:
    return [turns.take().number for _ in range(min(most, len(turns)))]


def test_an_urgent_message_takes_what_came_before_it_of_its_patient_along() -> None:
    turns = waiting([One(1, ("a",)), One(2, ("b",)), One(3, ("c",)), One(4, ("b",), True), One(5, ("b",))])
    assert turns.is_next_urgent
    assert taken(turns) == [2, 4, 1, 3, 5]


def test_a_merge_that_waits_makes_two_patients_one() -> None:
    turns = waiting([One(1, ("x",)), One(2, ("old",)), One(3, ("new", "old")), One(4, ("y",)), One(5, ("new",), True)])
    assert taken(turns) == [2, 3, 5, 1, 4]


def test_patients_are_joined_until_nothing_waits_of_them() -> None:
    turns = waiting([One(1, ("new", "old"))])
    assert taken(turns, 1) == [1]
    for one in (One(2, ("old",)), One(3, ("x",)), One(4, ("new",), True)):
        turns.add(one)
    assert taken(turns) == [4, 2, 3]


def test_what_is_given_back_is_the_next_again() -> None:
    turns = waiting([One(1, ("a",)), One(2, ("a",)), One(3, ("b",), True)])
    first = turns.take()
    assert first.number == 3
    second = turns.take()
    turns.add(One(4, ("c",), True))
    turns.give_back([second])
    assert (turns.oldest, turns.is_next_urgent) == (1, False)
    assert taken(turns) == [1, 4, 2]


def test_after_some_urgent_turns_comes_who_waits_longest() -> None:
    turns = waiting([One(n, (f"calm{n}",)) for n in range(100)] + [One(100 + n, (f"u{n}",), True) for n in range(40)])
    order = taken(turns, 2 * (MOST_IN_A_ROW + 1))
    assert [place for place, number in enumerate(order) if number < 100] == [MOST_IN_A_ROW, 2 * MOST_IN_A_ROW + 1]
    assert taken(turns, 8) == [*range(100 + 2 * MOST_IN_A_ROW, 140)], "nor are they forgotten"


def test_who_calls_everything_urgent_gains_no_more_than_its_credit() -> None:
    several = [One(n, (str(n),), n % 2 == 1, "loud" if n % 2 else "calm") for n in range(10_000)]
    turns = waiting(several)
    loud = calm = 0
    for _ in range(8_000):
        if turns.take().sender == "loud":
            loud += 1
        else:
            calm += 1
        assert loud <= calm + CREDIT + MOST_IN_A_ROW, "it is ahead by its credit, not by more and more"


def test_who_used_up_its_credit_keeps_nobody_else_from_going_ahead() -> None:
    several = [One(n, (str(n),), n % 2 == 1, "loud" if n % 2 else "calm") for n in range(10 * CREDIT)]
    turns = waiting(several)
    taken(turns, 5 * CREDIT)
    turns.add(One(10 * CREDIT, ("p",), True, "other"))
    assert 10 * CREDIT in taken(turns, 2)


def test_credit_comes_back_with_the_turns_of_others() -> None:
    turns = waiting([One(n, (str(n),), sender="calm") for n in range(1_000)])
    for number in range(CREDIT):
        turns.add(One(2_000 + number, (f"u{number}",), True))
    while turns.has_urgent:
        turns.take()
    turns.add(One(5_000, ("p",), True))
    turns.add(One(5_001, ("q",), True))
    assert 5_001 in taken(turns, 3 * EACH)


def test_who_overtakes_only_its_own_messages_needs_no_credit() -> None:
    turns = waiting([One(n, (str(n),)) for n in range(1_000)])
    for number in range(1_000, 1_000 + 3 * CREDIT):
        turns.add(One(number, (str(number),), True))
    order = taken(turns, 3 * CREDIT)
    assert sum(number >= 1_000 for number in order) == 3 * CREDIT - 3 * CREDIT // (MOST_IN_A_ROW + 1)


def test_senders_take_turns() -> None:
    several = [One(n, (f"a{n}",), True, "a") for n in range(5)] + [One(9, ("b",), True, "b")]
    assert taken(waiting([One(-1, ("calm",)), *several]), 2) == [0, 9]


def test_of_ever_new_senders_little_is_kept() -> None:
    turns: Turns[One] = Turns()
    for number in range(3 * MOST_SENDERS):
        turns.add(One(number, (str(number),), True, f"s{number}"))
        turns.take()
        assert len(turns._credits) <= MOST_SENDERS + 1
        assert len(turns._order) <= 2_000
    assert (len(turns), turns._lanes) == (0, {})


@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from("abcdef"), min_size=1, max_size=3),  # whose
            st.booleans(),  # is_urgent
            st.sampled_from(["s", "t"]),
            st.integers(0, 2),  # how many are taken then
            st.booleans(),  # whether these are given back
        ),
        max_size=60,
    ),
    st.integers(0, 3),
)
def test_whatever_is_urgent_the_order_of_each_patient_is_kept(
    steps: list[tuple[set[str], bool, str, int, bool]], credit: int
) -> None:
    turns: Turns[One] = Turns()
    added: list[One] = []
    order: list[One] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapters.hl7.turns.CREDIT", credit)
        for number, (whose, is_urgent, sender, count, is_back) in enumerate(steps):
            added.append(One(number, tuple(sorted(whose)), is_urgent, sender))
            turns.add(added[-1])
            several = []
            for _ in range(min(count, len(turns))):
                first = turns.first()
                several.append(turns.take())
                assert several[-1] is first
            if is_back:
                turns.give_back(several)
            else:
                order += several
            assert turns.oldest == min((one.number for one in added if one not in order), default=None)
        while turns:
            order.append(turns.take())
    assert sorted(one.number for one in order) == list(range(len(steps))), "each once"
    for name in "abcdef":
        own = [one.number for one in order if name in one.whose]
        assert own == sorted(own)
    assert turns._lanes == {}


def test_what_comes_soon_is_what_was_given_back_and_then_what_waits_longest() -> None:
    turns = waiting([One(number, (str(number),), number == 4) for number in range(1, 6)])
    back = [turns.take(), turns.take()]
    turns.give_back(back)
    assert [one.number for one in back] == [4, 1]
    assert [one.number for one in turns.upcoming(9)] == [4, 1, 2, 3, 5]
    assert [one.number for one in turns.upcoming(2)][:2] == [4, 1]
    assert len(turns) == 5
