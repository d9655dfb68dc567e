"""Tokens and scopes: what holds, what does not."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from fhir_server.errors import BadRequest, Unauthorized
from fhir_server.model import Actor, Scope
from fhir_server.security.scopes import parse_scopes, write_scopes
from fhir_server.security.tokens import Tokens, actor_of

KEY = b"k" * 32
NOW = 1_790_000_000
ACTOR = Actor("default", "someone", (Scope("system", "Patient", "rs"),), reference="Practitioner/p", purpose="TREAT")


class Clock:
    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> int:
        return self.seconds * 1_000_000


def test_a_token_gives_back_its_actor_until_it_ends() -> None:
    clock = Clock()
    tokens = Tokens(KEY, clock)
    token = tokens.make(ACTOR, ttl_s=60, jti="1")
    assert tokens.read(f"Bearer {token}") == ACTOR
    assert tokens.read(f"bearer {token}") == ACTOR
    clock.seconds += 60
    with pytest.raises(Unauthorized):
        tokens.read(f"Bearer {token}")


def claims(**changed: Any) -> dict[str, Any]:
    return {
        "iss": "predmp",
        "sub": "x",
        "exp": NOW + 60,
        "scope": "system/*.rs",
        "tenant": "default",
        "purpose": "TREAT",
        **changed,
    }


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(header: dict[str, Any], body: dict[str, Any], key: bytes = KEY) -> str:
    return jwt.encode(header, body, OctKey.import_key(key), algorithms=["HS256", "HS512"])


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="nothing"),
        pytest.param("wrong", id="no JWT"),
        pytest.param(f"{segment({'alg': 'none'})}.{segment(claims())}.", id="alg none"),
        pytest.param(f"{segment({'alg': 'nOnE'})}.{segment(claims())}.", id="alg none in disguise"),
        pytest.param(f"{segment({'alg': 'HS256'})}.{segment(claims())}.", id="an empty signature"),
        pytest.param(signed({"alg": "HS256"}, claims(), b"x" * 32), id="another key"),
        pytest.param(signed({"alg": "HS512"}, claims()), id="another algorithm"),
        pytest.param(signed({"alg": "HS256"}, claims(iss="another")), id="another issuer"),
        pytest.param(signed({"alg": "HS256"}, claims(exp=NOW)), id="ended"),
        pytest.param(signed({"alg": "HS256"}, claims(scope="system/*.sr")), id="letters out of order"),
        pytest.param(signed({"alg": "HS256"}, claims(actor="Practitioner/../x")), id="an actor that is no reference"),
        pytest.param(signed({"alg": "HS256"}, claims(scope="system/*.rs patient/*.rs")), id="patient/ of no patient"),
        pytest.param(signed({"alg": "HS256"}, {"iss": "predmp"}), id="claims missing"),
        pytest.param("a" * 20_000, id="20,000 characters"),
    ],
)
def test_a_token_that_does_not_hold_is_refused_without_a_reason(token: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        Tokens(KEY, Clock()).read(f"Bearer {token}")
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
    assert len(caught.value.text) < 40


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("system/*.cruds", (Scope("system", "*", "cruds"),)),
        (
            "patient/Observation.rs user/Patient.u",
            (Scope("patient", "Observation", "rs"), Scope("user", "Patient", "u")),
        ),
        ("system/Patient.read", (Scope("system", "Patient", "rs"),)),
        ("system/Patient.write", (Scope("system", "Patient", "cud"),)),
        ("system/*.*", (Scope("system", "*", "cruds"),)),
        ("", ()),
    ],
)
def test_scopes_are_read_as_smart_writes_them(text: str, expected: tuple[Scope, ...]) -> None:
    assert parse_scopes(text) == expected
    assert parse_scopes(write_scopes(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "patient/Observation.dus",
        "system/Patient.",
        "system/patient.rs",
        "all/Patient.rs",
        "system/*",
        "system/Patient.rs?category=x",
        "x " * 201,
    ],
)
def test_scopes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_scopes(text)


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "Nobody/1"},
        {"patient": "a b"},
        {"tenant": "a/b"},
        {"purpose": ""},
        {"scope": "patient/*.rs"},
        {"scope": "patient/*.rs", "actor": "Practitioner/p"},
    ],
)
def test_an_actor_is_checked_when_a_token_is_asked_for(change: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        actor_of(claims(**change))
