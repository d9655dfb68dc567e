"""Ids are those that RFC 9562 gives for version 5, whatever the parts."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7.ids import SPACE, made_id

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(TEXTS))
def test_an_id_is_the_uuid_of_version_5_of_its_parts(parts: list[str]) -> None:
    assert made_id(*parts) == str(uuid.uuid5(SPACE, "\x1f".join(parts)))


def test_the_ids_that_are_stored_stay_the_same() -> None:
    assert str(SPACE) == str(uuid.uuid5(uuid.NAMESPACE_URL, "urn:predmp:hl7v2"))
    assert made_id("Observation", "default", "é") == "bc1e190a-4473-589d-b253-2508e22b1976"
