"""Laws of the document: any text makes well-formed XHTML that says the same; any dates sort."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from adapters.dmp.line import Line, line_of, measured
from adapters.dmp.moment import order, shown
from adapters.dmp.narrative import clean, table

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(st.builds(Line, texts, texts, texts), max_size=3), st.lists(texts, max_size=3))
def test_any_text_makes_well_formed_xhtml_that_says_the_same(lines: list[Line], notes: list[str]) -> None:
    div = ElementTree.fromstring(table(lines, notes, "fr"))
    assert div.tag == "{http://www.w3.org/1999/xhtml}div"
    cells = [cell.text or "" for cell in div.iter("{http://www.w3.org/1999/xhtml}td")]
    assert cells == [ElementTree.fromstring(f"<a>{clean(text)}</a>").text or "" for line in lines for text in line]


@given(texts)
def test_any_text_can_be_asked_for_its_date(text: str) -> None:
    assert isinstance(order(text), int) and isinstance(shown(text, "fr"), str)


@given(st.datetimes(), st.datetimes())
def test_dates_sort_as_they_are(one: Any, other: Any) -> None:
    first, second = one.isoformat() + "Z", other.isoformat() + "Z"
    assert (order(first) < order(second)) is (one < other)


@given(st.sampled_from(["valueString", "valueInteger", "valueQuantity", "valueRange"]), texts)
def test_a_value_is_written_whatever_it_is(key: str, text: str) -> None:
    value: Any = {"valueString": text, "valueInteger": len(text), "valueQuantity": {"unit": text}, "valueRange": {}}[
        key
    ]
    assert isinstance(measured({key: value}, "fr"), str)


@given(st.sampled_from(["Condition", "CareTeam", "Consent", "Encounter", "Task", "Media"]), texts, texts)
def test_every_resource_has_a_line(type: str, text: str, date: str) -> None:
    resource = {"resourceType": type, "id": "1", "code": {"text": text}, "description": text, "date": date}
    line = line_of(resource, "fr", {})
    assert all(isinstance(part, str) for part in line) and line.what
