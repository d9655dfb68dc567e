"""The public suites of JSON Patch and FHIRPath Patch, and the table of RFC 7396."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fhir_server import gate
from fhir_server.definitions import property
from fhir_server.errors import FhirError
from fhir_server.patch import fhirpath_patch, json_patch
from fhir_server.patch.merge_patch import merged

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "patch"
FHIR = "{http://hl7.org/fhir}"
XHTML = "{http://www.w3.org/1999/xhtml}"


def shown(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here: it comes with the shared data, not with the project")
    return path


def from_xml(element: ElementTree.Element, type: str) -> Any:
    """Convert FHIR XML to FHIR JSON, for what the suite holds."""
    made: dict[str, Any] = {name: value for name, value in element.attrib.items() if name in ("id", "url")}
    for child in element:
        name = child.tag.removeprefix(FHIR)
        if child.tag == f"{XHTML}div":
            made["div"] = ElementTree.tostring(child, "unicode")
            continue
        found = property(type, name)
        assert found is not None, (type, name)
        value = from_xml(child, found[1]) or None
        if "value" in child.attrib:
            text = child.attrib["value"]
            if value:
                made[f"_{name}"] = value
            value = json.loads(text) if found[1] in ("boolean", "integer", "decimal", "positiveInt") else text
        if found[0].is_list:
            made.setdefault(name, []).append(value)
        else:
            made[name] = value
    return made


def resource(parent: ElementTree.Element | None) -> dict[str, Any]:
    assert parent is not None
    (element,) = parent
    name = element.tag.removeprefix(FHIR)
    return {"resourceType": name, **from_xml(element, name)}


def without_blanks(value: dict[str, Any]) -> dict[str, Any]:
    """Return a resource whose narrative has no blanks and no namespace prefix, which the converter may change."""
    if "div" in value.get("text", {}):
        value["text"]["div"] = re.sub(r"\s+|html:|:html", "", value["text"]["div"])
    return value


def test_the_fhir_suite() -> None:
    cases = ElementTree.parse(shown("fhir-patch-tests.xml")).getroot().findall("case")
    assert len(cases) >= 33
    failed = {}
    for case in cases:
        before = resource(case.find("input"))
        kept = copy.deepcopy(before)
        wanted = case.find("output")
        try:
            after: Any = without_blanks(fhirpath_patch.apply(before, resource(case.find("diff"))))
        except FhirError as error:
            after = error.status
        if after != (422 if wanted is None else without_blanks(resource(wanted))):
            failed[case.attrib["name"]] = after
        assert before == kept
    assert failed == {}


def test_the_json_patch_suite() -> None:
    cases = json.loads(shown("json-patch-tests.json").read_text())
    assert len(cases) >= 15
    failed = []
    for case in cases:
        before = copy.deepcopy(case["doc"])
        try:
            after = json_patch.apply(case["doc"], case["patch"])
            right = "error" not in case and after == case["expected"]
        except FhirError as error:
            right = "error" in case and error.status in (400, 422)
        if not right:
            failed.append(case["comment"])
        assert case["doc"] == before
    assert failed == []


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
        ('{"a":"b"}', '{"a":null}', "{}"),
        ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
        ('{"a":"b"}', '["c"]', '["c"]'),
        ('{"a":"foo"}', "null", "null"),
        ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
        ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
        ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
    ],
)
def test_the_examples_of_rfc_7396_appendix_a(before: str, patch: str, after: str) -> None:
    assert gate.write(merged(gate.parse(before.encode()), gate.parse(patch.encode()))) == after.encode()
