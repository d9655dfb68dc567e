"""Accounts at vendors: which user's measurements may be asked for, with what tokens, and when that was done last.

Whose measurements they are stands in FHIR: a Device with the account's identifier, and its patient. The tokens stand
here, sealed with a key of the vendor's secrets, and go when the user ends the link.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from adapters.devices.vendor import Vendor
from fhir_server import gate
from fhir_server.errors import Unavailable
from fhir_server.interface import Asking, Erasure, Writing
from fhir_server.model import Record

KIND: Final = "device-account"
LINKED: Final = "linked"
ENDED: Final = "ended"  # the user unlinked it, or deleted the account


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the vendor gave for one user; `expires` in microseconds since 1970, 0 unknown."""

    access: str
    refresh: str = ""
    expires: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is stored; times in microseconds since 1970."""

    vendor: str
    user: str
    state: str
    sealed: str = ""  # tokens
    polled: int = 0  # up to when changes were asked for
    lease: int = 0  # until when another process asks
    tries: int = 0  # polls that failed since one that did not
    next_at: int = 0  # no poll before

    @property
    def key(self) -> str:
        """Key of its row and of its notifications' lane."""
        return account_key(self.vendor, self.user)


def account_key(vendor: str, user: str) -> str:
    """Return the key of an account: a digest, so that the user's id stands in the body alone."""
    return hashlib.sha256(f"{vendor}|{user}".encode()).hexdigest()[:40]


async def find(asking: Asking, key: str) -> Account | None:
    """Return the account of a key."""
    record = await asking.record(KIND, key)
    return None if record is None else _account(record)


async def linked(asking: Asking, *, after: int = 0) -> list[tuple[int, Account]]:
    """Return linked accounts with seq > after, each with its seq."""
    return [(row.seq, _account(row)) for row in await asking.records(KIND, state=LINKED, after=after)]


async def put(writing: Writing, account: Account) -> None:
    """Store an account."""
    body = {
        "vendor": account.vendor,
        "user": account.user,
        "sealed": account.sealed,
        "polled": account.polled,
        "lease": account.lease,
        "tries": account.tries,
        "next_at": account.next_at,
    }
    await writing.put_record(KIND, account.key, account.state, gate.write(body), lane=account.vendor)


def ended(account: Account) -> Account:
    """Return an account whose user ended the link: without tokens."""
    return replace(account, state=ENDED, sealed="", lease=0)


def seal(vendor: Vendor, user: str, tokens: Tokens) -> str:
    """Return tokens as a text that only the vendor's secrets open."""
    plain = gate.write({"access": tokens.access, "refresh": tokens.refresh, "expires": tokens.expires})
    return base64.b64encode(AESSIV(_key(vendor)).encrypt(plain, [user.encode()])).decode("ascii")


def unseal(vendor: Vendor, account: Account) -> Tokens:
    """Return an account's tokens; raise Unavailable where the vendor's secrets have changed since."""
    try:
        plain = AESSIV(_key(vendor)).decrypt(base64.b64decode(account.sealed), [account.user.encode()])
    except (InvalidTag, ValueError):
        raise Unavailable("The tokens of an account cannot be opened: link it again.") from None
    held = gate.load(plain)
    return Tokens(held["access"], held["refresh"], held["expires"])


def holds(record: Record, erasure: Erasure) -> bool:
    """Whether a row names a user whose identifier is erased (`interface.Eraser`)."""
    return gate.load(record.body).get("user") in erasure.identifiers


def _key(vendor: Vendor) -> bytes:
    secret = vendor.client_secret or vendor.secret or vendor.url_key
    return HKDF(SHA512(), 64, None, b"predmp device account").derive(secret.encode())


def _account(record: Record) -> Account:
    body: Mapping[str, Any] = gate.load(record.body)
    return Account(state=record.state, **body)
