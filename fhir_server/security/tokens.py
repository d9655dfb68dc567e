"""Bearer tokens of the hub's own: signed with a key that lives in the store.

Who can read the store's file can make one (`predmp token`); nobody else can. The only import of joserfc.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from fhir_server.errors import BadRequest, Unauthorized
from fhir_server.model import Actor
from fhir_server.security.scopes import parse_scopes, write_scopes

ISSUER = "predmp"
MAX_TOKEN = 16_384  # characters
_CACHE = 2_000

_REFERENCE = re.compile(
    r"(Practitioner|PractitionerRole|Organization|Patient|RelatedPerson|Device)/[A-Za-z0-9.\-]{1,64}"
)
_ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9._\-]{1,64}")


class Tokens:
    """Makes and reads bearer tokens.

    Args:
        key: 32 secret bytes, the same in every process on the store.
        clock: Returns microseconds since 1970.
    """

    def __init__(self, key: bytes, clock: Callable[[], int]) -> None:
        self._key = OctKey.import_key(key)
        self._clock = clock
        self._known: dict[str, tuple[Actor, int]] = {}

    def make(self, actor: Actor, *, ttl_s: int, jti: str) -> str:
        """Return a token for that actor, valid for `ttl_s` seconds."""
        now = self._clock() // 1_000_000
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": actor.subject,
            "iat": now,
            "exp": now + ttl_s,
            "jti": jti,
            "scope": write_scopes(actor.scopes),
            "tenant": actor.tenant,
            "purpose": actor.purpose,
        }
        claims |= {k: v for k, v in (("actor", actor.reference), ("patient", actor.patient)) if v}
        return jwt.encode({"alg": "HS256", "typ": "JWT"}, claims, self._key)

    def read(self, authorization: str) -> Actor:
        """Return the actor of an Authorization header; raise Unauthorized, which says nothing of why."""
        known = self._known.get(authorization)
        if known is None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN:
                raise _refused("A bearer token is needed.")
            known = self._verify(token)
            if len(self._known) >= _CACHE:
                self._known.clear()
            self._known[authorization] = known
        if known[1] <= self._clock() // 1_000_000:
            raise _refused("The token is not valid.")
        return known[0]

    def _verify(self, token: str) -> tuple[Actor, int]:
        try:
            claims = jwt.decode(token, self._key, algorithms=["HS256"]).claims
            if claims["iss"] != ISSUER:
                raise _refused("The token is not valid.")
            return actor_of(claims), int(claims["exp"])
        except (JoseError, ValueError, KeyError, TypeError, BadRequest):
            raise _refused("The token is not valid.") from None


def actor_of(claims: dict[str, Any]) -> Actor:
    """Return the actor that claims describe; raise BadRequest when a part is malformed."""
    reference, patient = str(claims.get("actor", "")), str(claims.get("patient", ""))
    if reference and not _REFERENCE.fullmatch(reference):
        raise BadRequest("The actor reads Practitioner/ID or Organization/ID.")
    if patient and not _ID.fullmatch(patient):
        raise BadRequest("The patient is the id of a Patient.")
    for name in ("tenant", "purpose"):
        if not _NAME.fullmatch(str(claims[name])):
            raise BadRequest(f"The {name} is a word of letters, digits, dots, dashes and underscores.")
    scopes = parse_scopes(str(claims["scope"]))
    if not patient and any(scope.context == "patient" for scope in scopes):
        raise BadRequest("A scope patient/… is of one patient: say whose (--patient ID).")
    return Actor(
        tenant=str(claims["tenant"]),
        subject=str(claims["sub"])[:200],
        scopes=scopes,
        reference=reference,
        patient=patient,
        purpose=str(claims["purpose"]),
    )


def _refused(text: str) -> Unauthorized:
    error = Unauthorized(text)
    error.headers["WWW-Authenticate"] = 'Bearer realm="predmp", error="invalid_token"'
    return error
