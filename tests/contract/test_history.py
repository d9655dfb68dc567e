"""History of an instance, a type and the system: https://hl7.org/fhir/R4/http.html#history."""

from __future__ import annotations

import pytest

from fhir_server.model import EVERYTHING
from fhir_server.store.protocol import HistoryQuery, Store
from tests.contract.small import TENANT, Maker, history, put


@pytest.fixture
async def filled(store: Store, maker: Maker) -> Store:
    """Six versions of three resources, written at the times 10, 20 ... 60."""
    for write in (
        maker.write("Patient/a", 1, at=10, owners=("a",)),
        maker.write("Patient/b", 1, at=20, owners=("b",)),
        maker.write("Patient/a", 2, at=30, owners=("a",)),
        maker.write("Observation/o", 1, at=40, owners=("a",)),
        maker.deletion("Patient/b", 2, at=50),
        maker.write("Patient/a", 3, at=60, owners=("a",)),
    ):
        await put(store, write)
    return store


ALL = [
    ("Patient/a", 3),
    ("Patient/b", 2),
    ("Observation/o", 1),
    ("Patient/a", 2),
    ("Patient/b", 1),
    ("Patient/a", 1),
]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(HistoryQuery(), ALL, id="the system: all, newest first, deletions too"),
        pytest.param(HistoryQuery("Patient"), [v for v in ALL if v[0].startswith("P")], id="a type"),
        pytest.param(HistoryQuery("Patient", "b"), [("Patient/b", 2), ("Patient/b", 1)], id="an instance"),
        pytest.param(HistoryQuery("Patient", "none"), [], id="an id that was never used"),
        pytest.param(HistoryQuery("Device"), [], id="a type without resources"),
        pytest.param(HistoryQuery(since=40), ALL[:3], id="since a time: versions at it or after"),
        pytest.param(HistoryQuery("Patient", since=41), ALL[:2], id="since, of a type"),
        pytest.param(HistoryQuery(since=61), [], id="since a time after all"),
        pytest.param(
            HistoryQuery("Patient", "a", at=(25, 30)), [("Patient/a", 1)], id="at: the one current in the whole span"
        ),
        pytest.param(
            HistoryQuery("Patient", "a", at=(25, 31)),
            [("Patient/a", 2), ("Patient/a", 1)],
            id="at: those current in some part of the span",
        ),
        pytest.param(HistoryQuery(at=(0, 10)), [], id="at: before everything"),
        pytest.param(
            HistoryQuery("Patient", at=(15, 16)), [("Patient/a", 1)], id="at: what was not there yet is not shown"
        ),
        pytest.param(
            HistoryQuery(at=(100, 200)),
            [("Patient/a", 3), ("Patient/b", 2), ("Observation/o", 1)],
            id="at: the current ones stay current",
        ),
    ],
)
async def test_history_gives(filled: Store, query: HistoryQuery, expected: list[tuple[str, int]]) -> None:
    assert await history(filled, query) == (expected, len(expected))


async def test_pages_follow_each_other_and_all_say_the_same_total(filled: Store) -> None:
    seen: list[tuple[str, int]] = []
    before: int | None = None
    while True:
        async with filled.view(TENANT) as view:
            versions, total = await view.history(HistoryQuery(before_seq=before, count=4), see=EVERYTHING)
        assert total == len(ALL)
        if not versions:
            break
        seen += [(v.reference, v.version) for v in versions]
        before = versions[-1].seq
    assert seen == ALL


async def test_new_versions_do_not_disturb_older_pages(filled: Store, maker: Maker) -> None:
    async with filled.view(TENANT) as view:
        first, _ = await view.history(HistoryQuery("Patient", count=2), see=EVERYTHING)
    await put(filled, maker.write("Patient/a", 4, at=70), maker.write("Patient/c", at=70))
    rest, total = await history(filled, HistoryQuery("Patient", before_seq=first[-1].seq, count=9))
    assert rest == [("Patient/a", 2), ("Patient/b", 1), ("Patient/a", 1)]
    assert total == 7


async def test_a_count_of_zero_gives_the_total_alone(filled: Store) -> None:
    assert await history(filled, HistoryQuery("Patient", count=0)) == ([], 5)
