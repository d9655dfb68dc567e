"""Segments find their group; what has none is kept in place and listed; no result loses its patient."""

from __future__ import annotations

import pytest

from adapters.hl7.grammar import VERSIONS, known_version, structure
from adapters.hl7.group import Group, Tree, group
from adapters.hl7.tokens import tokenize


def tree(*names: str, kind: str = "ORU_R01", version: str = "2.5") -> Tree:
    grammar = structure(kind, version)
    assert grammar is not None
    return group(tokenize("\r".join(["MSH|^~\\&|A", *names])).segments, grammar)


def drawn(node: Group) -> list[object]:
    """Return a group as nested lists of segment names."""
    return [drawn(c) if isinstance(c, Group) else c.name for c in node.children]


def test_an_oru_falls_into_patients_orders_and_observations() -> None:
    found = tree("PID|1", "PV1|1", "ORC|1", "OBR|1", "OBX|1", "NTE|1", "OBX|2", "ORC|2", "OBR|2", "OBX|1")
    assert drawn(found.root) == [
        "MSH",
        [["PID", ["PV1"]], ["ORC", "OBR", ["OBX", "NTE"], ["OBX"]], ["ORC", "OBR", ["OBX"]]],
    ]
    assert found.strays == []


def test_a_local_segment_inside_results_ends_nothing() -> None:
    found = tree("PID|1", "OBR|1", "OBX|1", "ZZZ|1", "OBX|2")
    assert drawn(found.root) == ["MSH", [["PID"], ["OBR", ["OBX", "ZZZ"], ["OBX"]]]]
    assert [s.name for s in found.strays] == ["ZZZ"]


def test_two_patients_are_two_groups_each_with_its_own_results() -> None:
    found = tree("PID|1", "OBR|1", "OBX|1", "PID|2", "OBR|2", "OBX|2")
    assert drawn(found.root) == ["MSH", [["PID"], ["OBR", ["OBX"]]], [["PID"], ["OBR", ["OBX"]]]]


def test_a_segment_that_no_group_begins_with_makes_no_new_patient() -> None:
    found = tree("PID|1", "OBR|1", "OBX|1", "PV1|1", "OBX|2")
    assert drawn(found.root) == ["MSH", [["PID"], ["OBR", ["OBX", "PV1"], ["OBX"]]]]
    assert [s.name for s in found.strays] == ["PV1"]


def test_results_without_an_order_still_belong_to_their_patient() -> None:
    found = tree("PID|1", "OBX|1", "OBX|2")
    assert drawn(found.root) == ["MSH", [["PID"], [["OBX"], ["OBX"]]]]


@pytest.mark.parametrize("between", ["NTE|1", "TQ1|1"])
@pytest.mark.parametrize("kind", ["ORU_R01", "ORM_O01"])
def test_what_stands_before_the_obr_of_an_order_parts_no_order(kind: str, between: str) -> None:
    """`ORC NTE OBR` is one order, where the structure has its OBR first; the next ORC begins another one."""
    found = tree("PID|1", "ORC|1", between, "OBR|1", "OBX|1", "ORC|2", "OBR|2", kind=kind, version="2.5.1")
    orders = [c for c in found.root.children[1:] if isinstance(c, Group)]
    orders = orders if len(orders) > 1 else [c for c in orders[0].children if isinstance(c, Group)]
    names = [[s.name for s in order.walk() if s.name in ("ORC", "OBR", "OBX")] for order in orders]
    assert [one for one in names if one] == [["ORC", "OBR", "OBX"], ["ORC", "OBR"]]


def test_an_order_after_results_does_not_take_them() -> None:
    found = tree("PID|1", "ORC|1", "OBX|1", "OBR|2", "OBX|2")
    assert drawn(found.root) == ["MSH", [["PID"], ["ORC", ["OBX"]], ["OBR", ["OBX"]]]]


@pytest.mark.parametrize("version", ["2.5", "2.6"])
def test_a_segment_that_the_version_does_not_know_is_kept(version: str) -> None:
    found = tree("PID|1", "OBR|1", "OBX|1", "ZAM|1", "PRT|1", "OBX|2", version=version)
    assert [s.name for s in found.root.walk()] == ["MSH", "PID", "OBR", "OBX", "ZAM", "PRT", "OBX"]


def test_what_is_no_segment_at_all_is_kept() -> None:
    found = tree("PID|1", "nonsense", kind="ADT_A01")
    assert drawn(found.root) == ["MSH", "PID", "?"]
    assert [s.fields for s in found.strays] == [["nonsense"]]


def test_a_repeated_segment_that_stands_once_is_out_of_place() -> None:
    found = tree("PID|1", "PV1|1", "PV1|2", kind="ADT_A01")
    assert [(s.name, s.number) for s in found.strays] == [("PV1", 2)]


@pytest.mark.parametrize(
    ("text", "known"),
    [
        pytest.param("2.5", "2.5", id="a version with tables"),
        pytest.param("2.9", "2.8.2", id="a newer one uses the newest tables"),
        pytest.param("2.7.1", "2.7", id="one between two that have tables"),
        pytest.param("v2.5", None, id="not a version"),
        pytest.param("", None, id="none"),
    ],
)
def test_versions(text: str, known: str | None) -> None:
    assert known_version(text) == known


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_has_an_admission(version: str) -> None:
    assert structure("ADT_A01", version) is not None


def test_an_unknown_structure_is_none() -> None:
    assert structure("XXX_X01", "2.5") is None
