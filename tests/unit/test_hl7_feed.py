"""`POST /hl7v2`, in process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from fhir_server.app import Composed, opened
from fhir_server.model import Actor, Scope
from fhir_server.security.scopes import ALL
from fhir_server.settings import Settings
from tests.hl7_messages import adt


@pytest.fixture
async def composed() -> AsyncIterator[Composed]:
    async with opened(Settings(store="memory:", rooms=("adapters.hl7.room",), max_message=2000)) as made:
        yield made


async def post(
    composed: Composed,
    content: bytes,
    kind: str = "application/hl7-v2",
    *,
    scopes: tuple[Scope, ...] | None = ALL,
    encoding: str = "identity",
) -> httpx.Response:
    headers = {"Content-Type": kind, "Content-Encoding": encoding}
    if scopes is not None:
        token = composed.tokens.make(Actor("default", "test", scopes), ttl_s=60, jti="1")
        headers["Authorization"] = f"Bearer {token}"
    transport = httpx.ASGITransport(app=composed.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        return await client.post("/hl7v2", content=content, headers=headers)


async def test_a_message_is_answered_with_its_acknowledgement(composed: Composed) -> None:
    answer = await post(composed, adt().encode())
    assert answer.status_code == 200
    assert "MSA|AA|C1" in answer.text
    assert answer.headers["content-type"] == "application/hl7-v2; charset=utf-8"


async def test_the_media_type_tells_the_charset_where_the_message_does_not(composed: Composed) -> None:
    text = adt().replace("|UNICODE UTF-8", "|")
    answer = await post(composed, text.encode("iso8859-15"), "text/plain; charset=iso-8859-15")
    assert "MSA|AA|C1" in answer.text


@pytest.mark.parametrize(
    ("content", "kind", "scopes", "status", "code"),
    [
        pytest.param(b"MSH", "application/hl7-v2", None, 401, "login", id="no token"),
        pytest.param(b"MSH", "application/hl7-v2", (Scope("system", "Patient", "cru"),), 403, "forbidden", id="other scopes"),
        pytest.param(b"MSH", "application/json", ALL, 415, "not-supported", id="another media type"),
        pytest.param(b"MSH", "text/plain; charset=klingon", ALL, 415, "not-supported", id="an unknown charset"),
        pytest.param(b"", "text/plain", ALL, 400, "invalid", id="an empty body"),
        pytest.param(b"x" * 2001, "text/plain", ALL, 413, "too-long", id="a long body"),
    ],
)  # fmt: skip
async def test_what_is_refused_is_an_operation_outcome(
    composed: Composed, content: bytes, kind: str, scopes: tuple[Scope, ...] | None, status: int, code: str
) -> None:
    answer = await post(composed, content, kind, scopes=scopes)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (status, code)


async def test_a_compressed_body_is_refused(composed: Composed) -> None:
    answer = await post(composed, adt().encode(), "text/plain", encoding="gzip")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (415, "not-supported")


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        pytest.param(adt() + adt(control="C3"), ["AA", "AA"], id="two messages"),
        pytest.param(adt().replace("||||FRA", "||AL|AL|FRA"), ["CA", "AA"], id="both answers of enhanced mode"),
        pytest.param(adt().replace("||||FRA", "||NE|NE|FRA"), [], id="no answer is due"),
    ],
)
async def test_all_answers_are_in_the_body(composed: Composed, text: str, codes: list[str]) -> None:
    answer = await post(composed, text.encode(), "application/hl7-v2+er7")
    assert answer.status_code == 200
    assert [line.split("|")[1] for line in answer.text.split("\r") if line.startswith("MSA")] == codes


@pytest.mark.parametrize(
    ("label", "codec", "name"),
    [
        pytest.param("8859/15", "iso8859-15", "iso-8859-15", id="Latin-9"),
        pytest.param("UNICODE UTF-16", "utf-16", "utf-16", id="UTF-16"),
        pytest.param("ASCII", "cp1252", "windows-1252", id="what was guessed"),
    ],
)
async def test_the_answer_is_in_the_set_of_the_message_and_says_so(
    composed: Composed, label: str, codec: str, name: str
) -> None:
    text = adt().replace("UNICODE UTF-8", label).replace("CHU TEST", "HÔPITAL")
    answer = await post(composed, text.encode(codec))
    assert answer.headers["content-type"] == f"application/hl7-v2; charset={name}"
    assert "HÔPITAL" in answer.content.decode(codec)


async def test_a_message_that_cannot_be_taken_is_answered_as_hl7_says(composed: Composed) -> None:
    answer = await post(composed, b"hello")
    assert (answer.status_code, "MSA|AR|" in answer.text) == (200, True)
