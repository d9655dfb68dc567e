"""Laws of device feeds: any bytes in any format have an answer; what is read reads the same when it is kept aside."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.devices.format import SOURCES, Given, read_format
from adapters.devices.publication import Publication, raw_of
from adapters.devices.reading_json import read_reading
from adapters.devices.reason import Reason
from adapters.devices.senml import as_pack, resolve
from adapters.devices.topic import read_topic
from adapters.devices.withings import read_groups, read_notification
from fhir_server import gate
from fhir_server.errors import FhirError

NOW = 1_795_000_000_000_000
media_types = st.sampled_from(["", *SOURCES, "text/plain", "application/JSON; charset=utf-8"])
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def shaped(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that have some of these fields, each as it should be or as anything."""
    return st.fixed_dictionaries({}, optional={key: value | values for key, value in fields.items()})


records = shaped(
    bn=st.just("urn:dev:mac:a1:"), n=st.sampled_from(["8867-4", "8480-6", "x"]), u=st.just("/min"), bu=st.just("%"),
    v=st.integers(0, 300), bv=st.integers(), s=st.integers(), t=st.integers(), bt=st.integers(), bver=st.just(10),
    vs=st.text(max_size=4), vb=st.booleans(), vd=st.text(max_size=4),
)  # fmt: skip
names = st.sampled_from(["heart-rate", "blood-pressure", "step-count"])
points = shaped(
    header=shaped(user_id=st.just("u"), id=st.just("i"), schema_id=shaped(namespace=st.just("omh"), name=names)),
    body=shaped(
        heart_rate=shaped(value=st.integers(), unit=st.just("beats/min")),
        step_count=st.integers(),
        effective_time_frame=shaped(date_time=st.just("2026-11-20T08:00:00Z"), time_interval=shaped(duration=values)),
    ),
)
observations = shaped(
    resourceType=st.just("Observation"), status=st.just("final"), device=shaped(identifier=shaped(system=st.just("a"), value=st.just("b"))),
    code=shaped(coding=st.lists(shaped(system=st.just("http://loinc.org"), code=st.just("8867-4")), max_size=2)),
    component=st.lists(shaped(code=values, valueQuantity=values), max_size=2), valueQuantity=shaped(value=st.integers()),
)  # fmt: skip
bodies = st.binary(max_size=60) | st.one_of(
    st.lists(records, max_size=4), points, st.lists(points, max_size=2), observations,
    shaped(resourceType=st.just("Bundle"), entry=st.lists(shaped(resource=observations), max_size=2)), values,
).map(lambda value: json.dumps(value).encode())  # fmt: skip


@given(media_types, bodies)
def test_any_body_is_read_or_clearly_refused(media_type: str, body: bytes) -> None:
    try:
        given = read_format(media_type, body, now=NOW)
    except FhirError as error:
        assert error.status in (400, 413, 415)
    else:
        assert isinstance(given, Given) and given.messages
        for received in (each for message in given.messages for each in message.readings):
            gate.write(dict(received.raw))  # it can be kept
            assert isinstance(received.reading, Reason) or read_reading(received.raw) == received.reading


@given(
    st.lists(
        st.tuples(st.sampled_from(["8867-4", "9279-1"]), st.decimals(0, 300, places=2), st.integers(0, 2**33)),
        min_size=1,
        max_size=8,
    )
)
def test_a_pack_with_base_fields_says_what_the_resolved_one_says(rows: list[tuple[str, Decimal, int]]) -> None:
    plain = [{"n": f"urn:dev:mac:a1:{code}", "u": "/min", "v": value, "t": 2**28 + at} for code, value, at in rows]
    based: list[dict[str, Any]] = [{"n": code, "v": value, "t": at} for code, value, at in rows]
    based[0] |= {"bn": "urn:dev:mac:a1:", "bu": "/min", "bt": 2**28}
    assert as_pack(resolve(plain, now=NOW)) == as_pack(resolve(based, now=NOW))


@given(st.text(max_size=40), st.binary(max_size=60), st.text(max_size=10))
def test_any_publication_can_be_kept(topic: str, payload: bytes, media_type: str) -> None:
    read_topic(topic)
    kept = raw_of(
        Publication(topic.encode(errors="replace").decode(), payload, media_type.encode(errors="replace").decode())
    )
    assert gate.load(gate.write(kept)) == kept


@given(st.binary(max_size=80))
def test_any_notification_is_read_or_refused(body: bytes) -> None:
    try:
        assert read_notification(body).user
    except FhirError as error:
        assert error.status == 400


groups = shaped(
    grpid=st.integers(), attrib=st.integers(0, 20), date=st.integers(), category=st.integers(1, 2),
    measures=st.lists(shaped(type=st.sampled_from([1, 9, 10, 88]), value=st.integers(), unit=st.integers()), max_size=3),
)  # fmt: skip


@given(shaped(measuregrps=st.lists(groups, max_size=3), more=st.integers(0, 1), offset=st.integers()))
def test_any_answer_of_a_vendor_is_read_or_asked_for_again(held: dict[str, Any]) -> None:
    try:
        answered = read_groups(held, vendor="v")
    except FhirError as error:
        assert error.status == 503
    else:
        for received in answered.readings:
            gate.write(dict(received.raw))
