"""What only the memory store can be asked: that its chain notices a change, and that cursors fit their sort."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fhir_server import gate
from fhir_server.errors import BadParameter
from fhir_server.search.cursor import Place, ordered, place, read_cursor, sort_key, write_cursor
from fhir_server.search.match import Alone, Node
from fhir_server.search.query import Parameter, Sort
from fhir_server.search.values import Number, Period, Position, Quantity, Reference, Text, Token, Uri, Value
from fhir_server.store.memory import MemoryStore
from fhir_server.store.protocol import AuditRow, Transaction
from fhir_server.store.scan import Chained, first_broken, link
from tests.contract.small import Maker


def row(n: int) -> AuditRow:
    return AuditRow(n, "demo", "", "R", "read", f"Patient/{n}", (), 0, "TREAT", "r")


def chain(length: int) -> list[Chained]:
    made: list[Chained] = []
    for n in range(length):
        made.append(link(made, "north", row(n)))
    return made


@pytest.mark.parametrize("broken", [1, 3, 5])
def test_a_changed_row_breaks_the_chain_where_it_stands(broken: int) -> None:
    rows = chain(5)
    assert first_broken(rows) is None
    rows[broken - 1] = rows[broken - 1]._replace(row=row(99))
    assert first_broken(rows) == broken


def test_a_row_taken_out_breaks_the_chain() -> None:
    rows = chain(5)
    del rows[2]
    assert first_broken(rows) == 4


async def test_a_transaction_is_useless_once_it_is_over() -> None:
    store, kept = MemoryStore(), []
    await store.open()

    async def work(tx: Transaction) -> None:
        kept.append(tx)

    await store.transact("north", work)
    with pytest.raises(RuntimeError):
        await kept[0].put(Maker().write("Patient/1"))


async def test_time_never_stands_still_even_where_the_clock_does() -> None:
    store = MemoryStore(clock=lambda: 1_000)
    await store.open()

    async def work(tx: Transaction) -> int:
        return tx.now

    assert [await store.transact("north", work) for _ in range(3)] == [1_000, 1_001, 1_002]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Text("Élan"), "elan"),
        (Uri("http://X"), "http://X"),
        (Token("s", "c"), "c"),
        (Token("s", None), None),
        (Period(1, 2), 1),
        (Number(Decimal(1), Decimal(2)), Decimal(1)),
        (Quantity(None, Decimal(5), "", "", ""), Decimal(5)),
        (Reference("Patient", "1"), "Patient/1"),
        (Reference("", "", "urn:x"), "urn:x"),
        (Reference("", "", identifier=Token("s", "1")), None),
        (Position(1.0, 2.0), None),
    ],
)
def test_what_values_are_ordered_by(value: Value, expected: object) -> None:
    assert sort_key(value) == expected


def sort(kind: str, *, descending: bool = False) -> Sort:
    return Sort(Parameter("p", kind, "Patient", "p"), descending)


@pytest.mark.parametrize("kind", ["date", "string", "number", "quantity", "token"])
def test_a_cursor_survives_json(kind: str) -> None:
    values: dict[str, Value] = {
        "date": Period(-(2**63), 2), "string": Text("Élan"), "number": Number(Decimal("1.10"), Decimal("1.10")),
        "quantity": Quantity(Decimal("1E-9"), None, "", "", ""), "token": Token("", "12"),
    }  # fmt: skip
    for held in ({"p": (values[kind],)}, {}):
        made = place((sort(kind),), Node("Patient", "1", held), 7, Alone())
        assert read_cursor((sort(kind),), gate.parse(gate.write(list(write_cursor(made))))) == made


@pytest.mark.parametrize(
    ("kind", "cursor"),
    [
        pytest.param("date", ("2020", 1), id="a text for a date"),
        pytest.param("string", (5, 1), id="a number for a string"),
        pytest.param("number", ("abc", 1), id="no number"),
        pytest.param("date", (1,), id="a key too few"),
        pytest.param("date", (1, 2, 3), id="a key too many"),
        pytest.param("date", (1, "x"), id="no place in the order of writes"),
        pytest.param("date", (), id="nothing"),
    ],
)
def test_a_cursor_of_another_search_is_refused(kind: str, cursor: tuple[object, ...]) -> None:
    with pytest.raises(BadParameter):
        read_cursor((sort(kind),), cursor)


def test_missing_values_come_last_in_either_direction() -> None:
    places = [Place((None,), 1), Place((3,), 2), Place((5,), 3), Place((3,), 4)]
    up = sorted(places, key=ordered((sort("date"),)))
    down = sorted(places, key=ordered((sort("date", descending=True),)))
    assert [p.seq for p in up] == [4, 2, 3, 1] and [p.seq for p in down] == [3, 4, 2, 1]
