"""What may not be seen is not shown, not counted, not found, and does not show through anything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from fhir_server.model import EVERYTHING, Resource, Visibility
from fhir_server.search.values import Reference, Text, Token
from fhir_server.store.protocol import HistoryQuery, Store
from tests.contract.small import TENANT, Maker, asked, found, history, ids, put

SEEN: Final = Visibility(frozenset({"seen"}))
NONE: Final = Visibility(frozenset())


def unmarked(resource: Resource) -> bool:
    return bool(resource["mark"] != "sensitive")


PARTLY: Final = Visibility(frozenset({"seen"}), {"hidden": unmarked})


@pytest.fixture
async def world(store: Store, maker: Maker) -> Store:
    """Two patients, what belongs to each, to both, and to nobody."""
    await put(
        store,
        maker.write("Organization/o", values={"name": Text("CHU")}),
        maker.write(
            "Patient/seen",
            owners=("seen",),
            values={"name": Text("Ève"), "organization": Reference("Organization", "o")},
        ),
        maker.write(
            "Patient/hidden",
            owners=("hidden",),
            values={"name": Text("Zoé"), "organization": Reference("Organization", "o")},
        ),
        maker.about(
            "Observation/s1", "seen", {"code": Token("u", "a"), "derived-from": Reference("Observation", "h1")}
        ),
        maker.about("Observation/h1", "hidden", {"code": Token("u", "a")}),
        maker.about("Observation/h2", "hidden", {"code": Token("u", "sensitive")}, mark="sensitive"),
        maker.write("Observation/both", owners=("seen", "hidden"), values={"code": Token("u", "b")}),
        maker.write("Observation/nobody", values={"code": Token("u", "b")}),
        maker.write("Task/nobody", values={"code": Token("u", "b")}),
        maker.write("Device/d"),
    )
    return store


@pytest.mark.parametrize(
    ("see", "type", "text", "expected"),
    [
        pytest.param(EVERYTHING, "Observation", "", "s1 h1 h2 both nobody", id="the operator sees everything"),
        pytest.param(SEEN, "Observation", "", "s1", id="others see what belongs to none but theirs"),
        pytest.param(SEEN, "Patient", "", "seen", id="and of the patients their own"),
        pytest.param(SEEN, "Organization", "", "o", id="and what carries no patient data"),
        pytest.param(SEEN, "Device", "", "d", id="and devices of nobody"),
        pytest.param(SEEN, "Task", "", "", id="not a task of nobody, which may tell of somebody"),
        pytest.param(NONE, "Observation,Patient", "", "", id="who sees no patient sees nothing of any"),
        pytest.param(SEEN, "Observation", "code=a", "s1", id="search by a value that a hidden one has too"),
        pytest.param(SEEN, "Observation", "code=sensitive", "", id="search by a value that only a hidden one has"),
        pytest.param(SEEN, "Observation", "code:not=a", "", id="not finds no hidden one"),
        pytest.param(SEEN, "Observation", "patient:missing=true", "", id="missing finds no hidden one"),
        pytest.param(SEEN, "Observation", "_id=h1", "", id="search by id"),
        pytest.param(SEEN, "Patient", "name=zoe", "", id="search by name"),
        pytest.param(SEEN, "Observation", "derived-from.code=a", "", id="a chain does not go through a hidden one"),
        pytest.param(EVERYTHING, "Observation", "derived-from.code=a", "s1", id="the same chain for the operator"),
        pytest.param(
            SEEN, "Observation", "derived-from=Observation/h1", "s1", id="a visible reference is a visible value"
        ),
        pytest.param(
            SEEN, "Organization", "_has:Patient:organization:name=zoe", "", id="has does not see a hidden source"
        ),
        pytest.param(EVERYTHING, "Organization", "_has:Patient:organization:name=zoe", "o", id="has for the operator"),
        pytest.param(SEEN, "Organization", "_has:Patient:organization:name=eve", "o", id="has by a visible source"),
        pytest.param(
            SEEN,
            "Organization",
            "_has:Patient:organization:_has:Observation:patient:code=a",
            "o",
            id="has in has, visible",
        ),
        pytest.param(
            SEEN,
            "Organization",
            "_has:Patient:organization:_has:Observation:patient:code=sensitive",
            "",
            id="has in has, hidden",
        ),
        pytest.param(PARTLY, "Observation", "", "s1 h1 both", id="a record that is partly visible"),
        pytest.param(PARTLY, "Observation", "code=sensitive", "", id="its hidden part is not found"),
        pytest.param(
            PARTLY,
            "Patient",
            "_has:Observation:patient:code=sensitive",
            "",
            id="nor seen through has from what is visible",
        ),
        pytest.param(PARTLY, "Patient", "_has:Observation:patient:code=a", "seen hidden", id="its visible part is"),
        pytest.param(PARTLY, "Observation", "derived-from.code=a", "s1", id="a chain goes through its visible part"),
        pytest.param(
            Visibility(None, types=frozenset({"Patient"})),
            "Observation,Patient",
            "",
            "seen hidden",
            id="types beyond the scopes",
        ),
        pytest.param(
            Visibility(None, types=frozenset({"Patient"})),
            "Patient",
            "_has:Observation:patient:code=a",
            "",
            id="has over a type beyond the scopes",
        ),
        pytest.param(
            Visibility(None, types=frozenset({"Observation"})),
            "Observation",
            "patient.name=eve",
            "",
            id="a chain over a type beyond the scopes",
        ),
        pytest.param(
            Visibility(frozenset({"seen"}), types=frozenset({"Patient"})),
            "Observation,Patient",
            "",
            "seen",
            id="both bounds",
        ),
    ],
)
async def test_visible(world: Store, see: Visibility, type: str, text: str, expected: str) -> None:
    assert sorted(await ids(world, asked(type, text), see=see)) == sorted(expected.split())


async def test_hidden_resources_leave_no_hole_in_pages(store: Store, maker: Maker) -> None:
    owners = [("seen",) if n % 3 == 0 else ("hidden",) for n in range(30)]
    await put(store, *(maker.write(f"Observation/{n:02}", owners=o) for n, o in enumerate(owners)))
    query, seen, sizes = asked("Observation", "_sort=_id&_count=4"), [], []
    while True:
        page = await found(store, query, see=SEEN)
        seen += [v.id for v in page.versions]
        sizes.append(len(page.versions))
        assert page.total == 10
        if page.after is None:
            break
        query = replace(query, after=page.after)
    assert seen == [f"{n:02}" for n in range(0, 30, 3)] and sizes == [4, 4, 2]


async def test_a_cursor_names_nothing_hidden(store: Store, maker: Maker) -> None:
    names = [("a", "seen"), ("b", "hidden"), ("c", "seen"), ("d", "hidden"), ("e", "seen")]
    await put(store, *(maker.write(f"Patient/{n}", owners=(o,), values={"name": Text(n)}) for n, o in names))
    page = await found(store, asked("Patient", "_sort=name&_count=2"), see=SEEN)
    assert [v.id for v in page.versions] == ["a", "c"]
    assert page.after is not None and "b" not in page.after and "d" not in page.after


@pytest.mark.parametrize(
    ("see", "query", "expected"),
    [
        pytest.param(SEEN, HistoryQuery("Patient"), [("Patient/seen", 1)], id="of a type"),
        pytest.param(SEEN, HistoryQuery("Observation", "h1"), [], id="of an instance"),
        pytest.param(
            SEEN,
            HistoryQuery(),
            [("Device/d", 1), ("Observation/s1", 1), ("Patient/seen", 1), ("Organization/o", 1)],
            id="of the system",
        ),
        pytest.param(
            PARTLY,
            HistoryQuery("Observation"),
            [("Observation/both", 1), ("Observation/h1", 1), ("Observation/s1", 1)],
            id="of a record that is partly visible",
        ),
        pytest.param(NONE, HistoryQuery(), [("Device/d", 1), ("Organization/o", 1)], id="for who sees no patient"),
    ],
)
async def test_history_and_its_total_show_what_may_be_seen(
    world: Store, see: Visibility, query: HistoryQuery, expected: list[tuple[str, int]]
) -> None:
    assert await history(world, query, see=see) == (expected, len(expected))


async def test_a_deletion_is_shown_to_whom_the_resource_was(world: Store, maker: Maker) -> None:
    await put(
        world,
        maker.deletion("Observation/s1", 2),
        maker.deletion("Observation/h1", 2),
        maker.deletion("Observation/h2", 2),
    )
    for see, expected in (
        (SEEN, [("Observation/s1", 2), ("Observation/s1", 1)]),
        (
            PARTLY,
            [
                ("Observation/h1", 2),
                ("Observation/s1", 2),
                ("Observation/both", 1),
                ("Observation/h1", 1),
                ("Observation/s1", 1),
            ],
        ),
        (NONE, []),
    ):
        assert await history(world, HistoryQuery("Observation"), see=see) == (expected, len(expected))


async def test_each_version_is_judged_by_whom_it_belonged_to(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Observation/1", owners=("hidden",)))
    await put(store, maker.write("Observation/1", 2, owners=("seen",)))
    assert await history(store, HistoryQuery("Observation", "1"), see=SEEN) == ([("Observation/1", 2)], 1)
    await put(store, maker.write("Observation/1", 3, owners=("hidden",)))
    assert await history(store, HistoryQuery("Observation", "1"), see=SEEN) == ([("Observation/1", 2)], 1)
    assert await ids(store, asked("Observation"), see=SEEN) == []


async def test_a_change_of_owner_takes_effect_at_once(store: Store, maker: Maker) -> None:
    await put(store, maker.about("Observation/1", "hidden", {"code": Token("u", "a")}))
    assert await ids(store, asked("Observation", "code=a"), see=SEEN) == []
    subject = Reference("Patient", "seen")
    await put(
        store,
        maker.write(
            "Observation/1",
            2,
            owners=("seen",),
            values={"code": Token("u", "a"), "patient": subject, "subject": subject},
        ),
    )
    assert await ids(store, asked("Observation", "code=a"), see=SEEN) == ["1"]
    async with store.view(TENANT) as view:
        assert await view.count(("Observation",), asked("Observation", "patient=seen").where, see=SEEN) == 1
