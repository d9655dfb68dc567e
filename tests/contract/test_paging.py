"""Order and pages: keyset cursors that hold while others write. https://hl7.org/fhir/R4/search.html#sort."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

from fhir_server import gate
from fhir_server.model import Visibility
from fhir_server.search.dates import span
from fhir_server.search.query import Query
from fhir_server.search.values import Number, Period, Quantity, Reference, Text, Token, Uri, Value
from fhir_server.store.protocol import Found, Store
from tests.contract.small import PARIS, Maker, asked, found, put

Facts = Mapping[str, Value | tuple[Value, ...]]


async def pages(store: Store, query: Query, *, between: Callable[[int], Awaitable[object]] | None = None) -> list[str]:
    """Return the ids of all pages, in order; `between` runs after each page, with its number."""
    seen: list[str] = []
    for number in range(1_000):
        page = await found(store, query)
        assert len(page.versions) <= query.count
        seen += [version.id for version in page.versions]
        if page.after is None:
            return seen
        # A cursor travels in a link, so it must survive JSON.
        query = replace(query, after=tuple(gate.parse(gate.write(list(page.after)))))
        if between is not None:
            await between(number)
    raise AssertionError("the pages do not end")


def number(text: str) -> Quantity:
    return Quantity(Decimal(text), Decimal(text), "", "mg", "mg")


async def test_without_a_sort_the_newest_comes_first(store: Store, maker: Maker) -> None:
    for n in range(5):
        await put(store, maker.write(f"Patient/{n}"))
    assert await pages(store, asked("Patient", "_count=2")) == ["4", "3", "2", "1", "0"]


SORTS = [
    ("_sort=value-string", "b a d c x y", "strings by their folded text, without a value last"),
    ("_sort=-value-string", "c d a b x y", "descending, without a value last"),
    ("_sort=date", "d b a c x y", "dates by their begin"),
    ("_sort=-date", "a c b d x y", "descending dates: of several the latest"),
    ("_sort=value-quantity", "c a b d x y", "numbers by their value, not by their text"),
    ("_sort=-value-quantity", "d b a c x y", "descending numbers"),
    ("_sort=code", "b d a c x y", "tokens by code"),
    ("_sort=subject", "a b c d x y", "references by type and id"),
    ("_sort=-_id", "y x d c b a", "ids"),
    ("_sort=code,-value-quantity", "d b a c x y", "two keys"),
    ("_sort=-code,date", "a c d b x y", "two keys, the first descending"),
]

SORTED: dict[str, Facts] = {
    "a": {
        "value-string": Text("Élan"),
        "date": (span("2026-01-03", PARIS), span("2026-01-09", PARIS)),
        "value-quantity": number("9"),
        "code": Token("u", "m"),
        "subject": Reference("Device", "9"),
    },
    "b": {
        "value-string": Text("abeille"),
        "date": span("2026-01-02", PARIS),
        "value-quantity": number("10"),
        "code": Token("u", "k"),
        "subject": Reference("Group", "1"),
    },
    "c": {
        "value-string": Text("Fée"),
        "date": span("2026-01-04", PARIS),
        "value-quantity": number("-2.5"),
        "code": Token("t", "m"),
        "subject": Reference("Patient", "1"),
    },
    "d": {
        "value-string": Text("Eland"),
        "date": Period(-(2**63), span("2026-01-09", PARIS).lo),
        "value-quantity": number("10.01"),
        "code": Token("v", "k"),
        "subject": Reference("Patient", "10"),
    },
    "x": {},
    "y": {},
}


@pytest.mark.parametrize(
    ("text", "expected"), [pytest.param(text, expected, id=claim) for text, expected, claim in SORTS]
)
@pytest.mark.parametrize("count", [1, 2, 4, 100])
async def test_sorted(store: Store, maker: Maker, text: str, expected: str, count: int) -> None:
    # y is written first and a last: among ties the newest comes first.
    await put(store, *(maker.write(f"Observation/{id}", values=SORTED[id]) for id in reversed(SORTED)))
    assert await pages(store, asked("Observation", f"{text}&_count={count}")) == expected.split()


CHAINS = [
    ("patient.name", "o2 o1 o3 o4 o5", "by the value that the reference leads to, without one last"),
    ("-patient.name", "o4 o3 o1 o2 o5", "descending"),
    ("patient.organization.name", "o3 o4 o1 o2 o5", "over two references; the newest of equals first"),
    ("-patient.organization.name", "o1 o2 o3 o4 o5", "over two references, descending, of several the greatest"),
    ("patient.identifier", "o4 o1 o2 o3 o5", "by a token"),
    ("patient.organization", "o1 o2 o3 o4 o5", "by a reference"),
    ("patient._id", "o1 o2 o3 o4 o5", "by an id"),
    ("derived-from:Observation.patient.name", "o5 o4 o1 o2 o3", "over the same type"),
    ("code,-patient.name", "o4 o2 o3 o1 o5", "beside another key"),
]


async def chained(store: Store, maker: Maker) -> None:
    def at(organization: str) -> Reference:
        return Reference("Organization", organization)

    await put(
        store,
        maker.write("Organization/1", values={"name": Text("Zeta")}),
        maker.write("Organization/2", values={"name": (Text("Alpha"), Text("Omega"))}),
        maker.write("Organization/gone", values={"name": Text("0")}),
        maker.deletion("Organization/gone", 2),
        maker.write(
            "Patient/1",
            owners=("1",),
            values={"name": Text("Bo"), "organization": at("1"), "identifier": Token("s", "2")},
        ),
        maker.write("Patient/2", owners=("2",), values={"name": (Text("Al"), Text("Au")), "organization": at("1")}),
        maker.write("Patient/3", owners=("3",), values={"name": Text("Ço"), "organization": at("2")}),
        maker.write(
            "Patient/4",
            owners=("4",),
            values={"name": Text("Du"), "organization": (at("2"), at("gone")), "identifier": Token("t", "1")},
        ),
        maker.about("Observation/o5", "nowhere", {"derived-from": Reference("Observation", "o2")}),
        maker.about("Observation/o4", "4", {"code": Token("u", "a"), "derived-from": Reference("Observation", "o1")}),
        maker.about("Observation/o3", "3", {"code": Token("u", "b"), "derived-from": Reference("", "", "urn:x")}),
        maker.about("Observation/o2", "2", {"code": Token("v", "a"), "derived-from": Reference("Device", "o1")}),
        maker.about("Observation/o1", "1", {"code": Token("u", "b")}),
    )


@pytest.mark.parametrize(
    ("sort", "expected"), [pytest.param(sort, expected, id=claim) for sort, expected, claim in CHAINS]
)
@pytest.mark.parametrize("count", [1, 2, 100])
async def test_sorted_over_a_chain(store: Store, maker: Maker, sort: str, expected: str, count: int) -> None:
    await chained(store, maker)
    query = asked("Observation", f"_sort={sort}&_count={count}")
    assert query.sort[-1].path
    assert await pages(store, query) == expected.split()


async def test_the_order_tells_nothing_of_what_may_not_be_seen(store: Store, maker: Maker) -> None:
    await put(
        store,
        maker.write("Patient/seen", owners=("seen",)),
        maker.write("Patient/a", owners=("a",), values={"name": Text("A")}),
        maker.write("Patient/z", owners=("z",), values={"name": Text("Z")}),
        *(
            maker.write(f"Observation/{id}", owners=("seen",), values={"patient": Reference("Patient", id)})
            for id in ("seen", "z", "a")
        ),
    )
    for sort in ("patient.name", "-patient.name", "patient._id"):
        query = asked("Observation", f"_sort={sort}")
        whole = [v.id for v in (await found(store, query)).versions]
        assert whole[0] in ("a", "z")
        seen = await found(store, query, see=Visibility(frozenset({"seen"})))
        names = [v.id for v in seen.versions]
        assert names == (["a", "z", "seen"] if sort != "patient._id" else ["seen", "a", "z"])
        typed = await found(store, query, see=Visibility(None, types=frozenset({"Observation"})))
        assert [v.id for v in typed.versions] == ["a", "z", "seen"], "a type out of scope is not there"


async def test_a_long_chart_of_many_codes_and_patients(store: Store, maker: Maker) -> None:
    facts = [
        {
            "patient": Reference("Patient", f"p{n % 3}"),
            "code": (Token("u", f"c{n % 70}"), Token("v", f"c{n % 70}")) if n % 5 == 0 else Token("u", f"c{n % 70}"),
            "date": span(f"20{n % 30 + 10}-0{n % 9 + 1}", PARIS),
        }
        for n in range(1_400)
    ]
    await put(store, *(maker.write(f"Observation/{n}", values=values) for n, values in enumerate(facts)))
    dated = sorted(range(1_400), key=lambda n: (facts[n]["date"].lo, n), reverse=True)  # type: ignore[union-attr]
    for patients in ("p1", "p0,p1,p2"):
        of = [n for n in dated if f"p{n % 3}" in patients]
        query = asked("Observation", f"patient={patients}&_sort=-date&_count=600&_total=none")
        assert await pages(store, query) == [str(n) for n in of]


async def test_sorted_by_uris_and_references_elsewhere(store: Store, maker: Maker) -> None:
    await put(
        store,
        maker.write("ValueSet/1", values={"url": Uri("http://b")}),
        maker.write("ValueSet/2", values={"url": (Uri("http://c"), Uri("http://a"))}),
        maker.write("ValueSet/3"),
        maker.write("Observation/1", values={"derived-from": Reference("", "", "https://x.example/1")}),
        maker.write("Observation/2", values={"derived-from": Reference("Observation", "1")}),
        maker.write("Observation/3", values={"derived-from": Reference("", "", identifier=Token("u", "A"))}),
    )
    assert await pages(store, asked("ValueSet", "_sort=url&_count=1")) == ["2", "1", "3"]
    assert await pages(store, asked("ValueSet", "_sort=-url&_count=1")) == ["2", "1", "3"]
    assert await pages(store, asked("Observation", "_sort=derived-from&_count=1")) == ["2", "1", "3"]
    assert await pages(store, asked("Observation", "_sort=-derived-from&_count=1")) == ["1", "2", "3"]


async def test_ties_are_parted_and_stay_so(store: Store, maker: Maker) -> None:
    same: Facts = {"code": Token("u", "x"), "date": span("2026", PARIS)}
    await put(store, *(maker.write(f"Observation/{n}", values=same) for n in range(25)))
    for sort in ("date", "-date", "code,date", "_lastUpdated", "-_lastUpdated"):
        whole = await pages(store, asked("Observation", f"_sort={sort}&_count=100"))
        assert len(set(whole)) == 25
        for count in (1, 7, 24, 25):
            assert await pages(store, asked("Observation", f"_sort={sort}&_count={count}")) == whole


@pytest.mark.parametrize(
    "sort", ["", "&_sort=date", "&_sort=-date", "&_sort=value-quantity,-date", "&_sort=_id", "&_sort=-_lastUpdated"]
)
async def test_new_resources_disturb_no_page(store: Store, maker: Maker, sort: str) -> None:
    rng = random.Random(sort)

    def fact() -> Facts:
        day = span(f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}", PARIS)
        return {"code": Token("u", "a"), "date": day, "value-quantity": number(str(rng.randint(1, 5)))}

    await put(store, *(maker.write(f"Observation/{n}", at=n, values=fact()) for n in range(60)))

    async def write(n: int) -> None:
        await put(store, maker.write(f"Observation/new-{n}", at=1_000 + n, values=fact()))
        await put(store, maker.write(f"Observation/other-{n}", at=1_000 + n, values={"code": Token("u", "b")}))

    seen = await pages(store, asked("Observation", f"code=a&_count=7{sort}"), between=write)
    assert len(seen) == len(set(seen))
    assert {id for id in seen if not id.startswith("new")} == {str(n) for n in range(60)}
    assert not [id for id in seen if id.startswith("other")]


@pytest.mark.parametrize("sort", ["", "&_sort=date", "&_sort=-date", "&_sort=_id"])
async def test_a_resource_that_is_replaced_while_paging_is_not_given_twice(
    store: Store, maker: Maker, sort: str
) -> None:
    facts: Facts = {"date": span("2026", PARIS), "code": Token("u", "a")}
    names = {str(n) for n in range(20)}
    await put(store, *(maker.write(f"Observation/{name}", values=facts) for name in names))
    query = asked("Observation", f"code=a&_count=5{sort}")
    first = await found(store, query)
    given = {version.id for version in first.versions}
    await put(store, *(maker.write(version.reference, 2, values=facts) for version in first.versions))
    rest = await pages(store, replace(query, after=first.after))
    assert set(rest) == names - given and len(rest) == 15


async def test_a_resource_that_is_deleted_while_paging_leaves_no_hole(store: Store, maker: Maker) -> None:
    await put(store, *(maker.write(f"Patient/{n}", values={"birthdate": span("1961", PARIS)}) for n in range(12)))

    async def delete(n: int) -> None:
        await put(store, *(maker.deletion(f"Patient/{id}", 2) for id in ("11", "0") if n == 0))

    seen = await pages(store, asked("Patient", "_sort=_id&_count=5"), between=delete)
    assert set(seen) >= {str(n) for n in range(1, 11)} and len(seen) == len(set(seen))


async def test_the_cursor_of_one_page_can_be_used_again(store: Store, maker: Maker) -> None:
    await put(store, *(maker.write(f"Patient/{n}") for n in range(10)))
    query = asked("Patient", "_count=4&_sort=_id")
    first = await found(store, query)
    second = await found(store, replace(query, after=first.after))
    assert await found(store, replace(query, after=first.after)) == second
    assert [v.id for v in second.versions] == ["4", "5", "6", "7"]


@pytest.mark.parametrize("total", ["accurate", "none"])
async def test_the_total_is_of_all_pages_where_it_is_asked_for(store: Store, maker: Maker, total: str) -> None:
    await put(store, *(maker.write(f"Patient/{n}") for n in range(10)))
    query = asked("Patient", f"_count=4&_total={total}")
    totals = []
    while True:
        page: Found = await found(store, query)
        totals.append(page.total)
        if page.after is None:
            break
        query = replace(query, after=page.after)
    assert totals == [10 if total == "accurate" else None] * 3


async def test_an_estimated_total_is_right_or_says_that_it_is_a_guess(store: Store, maker: Maker) -> None:
    await put(store, *(maker.write(f"Patient/{n}") for n in range(10)))
    for count in (4, 20):
        page = await found(store, asked("Patient", f"_count={count}&_total=estimate"))
        assert page.total is not None and page.total >= len(page.versions)
        assert page.estimated or page.total == 10


async def test_a_full_last_page_has_no_next(store: Store, maker: Maker) -> None:
    await put(store, *(maker.write(f"Patient/{n}") for n in range(4)))
    assert (await found(store, asked("Patient", "_count=4"))).after is None
    assert (await found(store, asked("Patient", "_count=3"))).after is not None


async def test_numbers_far_apart_sort_by_value(store: Store, maker: Maker) -> None:
    texts = ["1e-9", "0", "-1e6", "99999999999999999999", "0.1", "1e6", "-0.5"]
    values = {f"n{i}": Number(Decimal(t), Decimal(t)) for i, t in enumerate(texts)}
    await put(store, *(maker.write(f"RiskAssessment/{id}", values={"probability": v}) for id, v in values.items()))
    expected = sorted(values, key=lambda id: values[id].lo)
    assert await pages(store, asked("RiskAssessment", "_sort=probability&_count=2")) == expected
