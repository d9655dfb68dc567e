"""The links of a page of results over real HTTP, and the format that a search by POST asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fhir_server.http.search import MAX_TRAIL, TRAIL
from tests.http.search_world import bundle
from tests.running import RunningHub

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def world() -> Iterator[RunningHub]:
    """A hub that holds the small world and nothing else."""
    with RunningHub() as running:
        answer = running.request("POST", "/fhir", json=bundle())
        assert answer.status_code == 200, answer.text
        yield running


def page(world: RunningHub, path: str) -> Any:
    """Return a page by its path below the FHIR root, or by its link."""
    below = path.partition("/fhir")[2] if path.startswith("http") else f"/{path}"
    answer = world.request("GET", f"/fhir{below}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def link(found: Any, relation: str) -> str:
    """Return a link of a page, "" where it has none of that relation."""
    return next((str(each["url"]) for each in found["link"] if each["relation"] == relation), "")


def ids(found: Any) -> list[str]:
    """Return the ids of what is on a page."""
    return [entry["resource"]["id"] for entry in found["entry"]]


def walk(world: RunningHub, path: str, relation: str) -> list[Any]:
    """Return a page and those that a relation leads to, one after the other."""
    pages = []
    while path:
        pages.append(page(world, path))
        path = link(pages[-1], relation)
    return pages


@pytest.mark.parametrize("sort", ["", "&_sort=-date", "&_sort=patient.family,code"])
def test_the_way_back_shows_the_same_pages(world: RunningHub, sort: str) -> None:
    pages = walk(world, f"Observation?_count=1{sort}", "next")
    assert len(pages) > 4
    back = walk(world, link(pages[-1], "self"), "previous")
    assert list(map(ids, back)) == list(map(ids, pages[::-1]))


def test_each_page_says_its_own_link_and_that_of_the_first(world: RunningHub) -> None:
    pages = walk(world, "Observation?_count=2", "next")
    assert [ids(page(world, link(each, "self"))) for each in pages] == list(map(ids, pages))
    assert {link(each, "first") for each in pages} == {link(pages[0], "self")}
    assert link(pages[0], "previous") == ""


def test_a_whole_result_has_one_link(world: RunningHub) -> None:
    assert [each["relation"] for each in page(world, "Organization?_count=50")["link"]] == ["self"]


def test_a_long_way_back_ends_early_and_never_at_a_wrong_page(world: RunningHub) -> None:
    """Links stay short: of a long walk only the last pages are known, and the first one is always."""
    first = page(world, "Observation?_count=1")
    second = page(world, link(first, "next"))
    cursor = link(second, "self").partition("_cursor=")[2]
    trail = ",".join(["x" * 100] * 9 + [cursor])
    third = page(world, f"Observation?_count=1&_cursor={cursor}&{TRAIL}={trail}")
    assert len(link(third, "next")) < MAX_TRAIL + 300
    assert ids(page(world, link(third, "previous"))) == ids(second)
    alone = page(world, f"Observation?_count=1&_cursor={cursor}&{TRAIL}={'x' * (MAX_TRAIL + 1)}")
    assert link(alone, "previous") == "" and ids(page(world, link(alone, "first"))) == ids(first)


def test_a_way_back_that_was_edited_is_refused(world: RunningHub) -> None:
    cursor = link(page(world, "Observation?_count=1"), "next").partition("_cursor=")[2]
    forged = page(world, f"Observation?_count=1&_cursor={cursor}&{TRAIL}=abcdef")
    below = link(forged, "previous").partition("/fhir")[2]
    assert world.request("GET", f"/fhir{below}").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("_before=x", id="a way back without a place"),
        pytest.param("_cursor=x&_cursor=y", id="two places"),
        pytest.param("_cursor=", id="an empty place"),
    ],
)
def test_a_link_that_no_page_has_is_refused(world: RunningHub, query: str) -> None:
    assert world.request("GET", f"/fhir/Observation?{query}").status_code == 400


def test_links_keep_the_format_that_was_asked_for(world: RunningHub) -> None:
    following = link(page(world, "Observation?_count=1&_format=json&_pretty=true"), "next")
    answer = world.request("GET", f"/fhir{following.partition('/fhir')[2]}")
    assert answer.text.startswith("{\n")


@pytest.mark.parametrize(
    ("form", "status", "kind"),
    [
        pytest.param("_format=xml", 200, "application/fhir+xml", id="XML"),
        pytest.param(
            "_format=application/fhir%2Bxml&_count=1", 200, "application/fhir+xml", id="XML by its media type"
        ),
        pytest.param("_format=json", 200, "application/fhir+json", id="JSON"),
        pytest.param("_format=nonsense", 406, "application/fhir+json", id="a format that is not known"),
    ],
)
def test_the_form_of_a_search_by_post_may_say_the_format(world: RunningHub, form: str, status: int, kind: str) -> None:
    answer = world.request("POST", "/fhir/Patient/_search", content=form.encode(), Content_Type=FORM)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (status, kind)


def test_a_long_search_by_post_goes_on_by_its_links(world: RunningHub) -> None:
    ids_asked = [f"{number:04d}-none-{'0' * 24}" for number in range(900)] + ["bp1", "bp2", "kg"]
    form = f"_count=2&_sort=_id&_id={','.join(ids_asked)}"
    answer = world.request("POST", "/fhir/Observation/_search", content=form.encode(), Content_Type=FORM)
    assert (ids(answer.json()), ids(page(world, link(answer.json(), "next")))) == (["bp1", "bp2"], ["kg"])


def test_where_a_link_is_too_long_the_form_takes_its_cursor(world: RunningHub) -> None:
    asked = [f"{number:04d}-none-{'0' * 54}" for number in range(500)]
    form = f"_count=2&_sort=_id&_id={','.join([*asked, 'bp1', 'bp2', 'kg'])}&_id:not={','.join(asked)}&_tag:not={','.join(asked)}"
    first = world.request("POST", "/fhir/Observation/_search", content=form.encode(), Content_Type=FORM).json()
    note = first["entry"].pop()["resource"]["issue"][0]
    assert (ids(first), note["severity"], "_cursor" in note["diagnostics"]) == (["bp1", "bp2"], "information", True)
    cursor = link(first, "next").partition("_cursor=")[2]
    following = f"{form}&_cursor={cursor}".encode()
    second = world.request("POST", "/fhir/Observation/_search", content=following, Content_Type=FORM)
    assert ids(second.json()) == ["kg"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("Patient/chloe/Nonsense", 404, id="a type that R4 does not have"),
        pytest.param("Patient/chloe/Organization", 400, id="a type that is in no such compartment"),
        pytest.param("Organization/tours/Patient", 404, id="a compartment that R4 does not have"),
    ],
)
def test_what_is_in_no_compartment_is_refused(world: RunningHub, path: str, status: int) -> None:
    assert world.request("GET", f"/fhir/{path}").status_code == status
