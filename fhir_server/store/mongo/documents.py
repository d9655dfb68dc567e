"""Versions and records as documents.

Source: search values as in `search.values`; the shapes are told in README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, TypeAlias

from bson import ObjectId
from bson import encode as encode_document

from fhir_server.errors import TooLarge
from fhir_server.model import Record, Version
from fhir_server.search.cursor import sort_key
from fhir_server.search.fold import fold
from fhir_server.search.values import (
    Composite,
    Indexed,
    Number,
    Period,
    Quantity,
    Reference,
    Text,
    Token,
    Uri,
    Value,
    Values,
)
from fhir_server.store.mongo import keys
from fhir_server.store.sqlite.numbers import encode

Document: TypeAlias = dict[str, Any]

OPEN: Final = 2**63 - 1
"""`to` and `gone` of what was not superseded and not removed."""

LEAST: Final = ""  # stands for a number without a lower bound
MOST: Final = "~"  # ... without an upper bound: above all hexadecimal digits

MOST_BODY: Final = 8_000_000  # bytes of a body in its document; more goes to `part` (a document holds 16 MB)

MOST_DOCUMENT: Final = 16_000_000  # bytes
_LARGE_BODY, _MANY_ENTRIES = 1_000_000, 2_000  # below both, a document is far from that

INDEXES: Final = ("tok", "str", "ref", "dt", "num", "s")


def number(value: Decimal) -> str:
    """Return text that sorts as the numbers do, to the last digit."""
    return encode(value).hex()


def own_values(version: Version) -> Values:
    """Return what every resource is searched by: its id and time are those of the store."""
    return {"_id": (Token("", version.id),), "_lastUpdated": (Period(version.at, version.at + 1),)}


def version_document(tenant: str, made: Version, indexed: Indexed, tx: ObjectId, n: int) -> Document:
    """Return the pending document of a version.

    Args:
        tenant: Whose it is.
        made: The version.
        indexed: Its index values; not looked at for a deletion.
        tx: The transaction that writes it.
        n: The number that the transaction's commit would have.
    """
    document: Document = {
        "_id": ObjectId(),
        "t": tenant,
        "k": made.type,
        "r": f"{tenant}/{made.reference}",
        "b": bucket(made),
        "id": made.id,
        "v": made.version,
        "at": made.at,
        "m": made.method,
        "seq": made.seq,
        "own": list(made.owners),
        "live": not made.is_deleted,
        "to": OPEN,
        "gone": OPEN,
        "tx": tx,
        "n": n,
    }
    if len(made.body) <= MOST_BODY:
        document["body"] = made.body
    else:
        document["parts"] = -(-len(made.body) // MOST_BODY)
    if not made.is_deleted:
        document |= index_fields({**indexed.values, **own_values(made)})
    return document


def check_size(document: Document, body: bytes) -> None:
    """Raise TooLarge where a document is more than a server takes; small ones are not measured."""
    entries = sum(len(document.get(name, ())) for name in ("tok", "str", "ref", "dt", "num"))
    if (len(body) > _LARGE_BODY or entries > _MANY_ENTRIES) and len(encode_document(document)) > MOST_DOCUMENT:
        raise TooLarge("What is to be indexed of a resource is too large for the store.")


def body_parts(document: Document, body: bytes) -> list[Document]:
    """Return the documents that hold a body which is too large for its own."""
    return [
        {
            "_id": f"{document['_id']}/{n}",
            "t": document["t"],
            "of": document["_id"],
            "tx": document["tx"],
            "n": document["n"],
            "data": body[n * MOST_BODY : (n + 1) * MOST_BODY],
        }
        for n in range(document.get("parts", 0))
    ]


def bucket(made: Version) -> str:
    """Return the shard prefix: a hash of the Patient to whom the resource belongs, or of the resource."""
    main = made.owners[0] if made.owners else made.reference
    return sha256(main.encode()).hexdigest()[:4]


def read_version(document: Mapping[str, Any], body: bytes | None = None) -> Version:
    """Return the version that a document holds."""
    return Version(
        document["k"],
        document["id"],
        int(document["v"]),  # the driver has a type of its own for whole numbers of 64 bits
        int(document["at"]),
        document["m"],
        document.get("body", b"") if body is None else body,
        int(document["seq"]),
        tuple(document["own"]),
    )


def record_document(tenant: str, made: Record, tx: ObjectId, n: int) -> Document:
    """Return the pending document of a record."""
    return {
        "_id": ObjectId(),
        "t": tenant,
        "kind": made.kind,
        "key": made.key,
        "state": made.state,
        "lane": made.lane,
        "seq": made.seq,
        "at": made.at,
        "body": made.body,
        "to": OPEN,
        "tx": tx,
        "n": n,
    }


def read_record(document: Mapping[str, Any]) -> Record:
    """Return the record that a document holds."""
    seq, at = int(document["seq"]), int(document["at"])
    return Record(document["kind"], document["key"], document["state"], document["lane"], seq, at, document["body"])


# --- index values -----------------------------------------------------------------------------------------


def index_fields(values: Values) -> Document:
    """Return the fields that searches look at."""
    fields = _Fields()
    for code, found in values.items():
        if not found:
            continue
        fields.tok.add(keys.key(code, keys.GIVEN))
        for value in found:
            fields.add(code, value)
        fields.sort(code, found)
    return fields.document()


class _Fields:
    """Gathers the entries of one resource."""

    def __init__(self) -> None:
        self.tok: set[str] = set()
        self._str: set[str] = set()
        self._ref: set[str] = set()
        self._dt: set[tuple[str, int, int]] = set()
        self._num: set[tuple[str, str, str, str, str, str]] = set()
        self._sort: Document = {}

    def add(self, code: str, value: Value) -> None:
        match value:
            case Token():
                self._token(code, value)
            case Text(text):
                self._str.add(keys.key(code, keys.FOLDED, fold(text)))
                self.tok.add(keys.key(code, keys.EXACT, text))
            case Uri(text):
                self._str.add(keys.key(code, keys.START, text))
                self.tok.add(keys.key(code, keys.URI, text))
            case Reference():
                self._reference(code, value)
            case Period(lo, hi):
                self._dt.add((code, lo, hi))
            case Number(lo, hi):
                self._num.add((code, number(lo), number(hi), "", "", ""))
            case Quantity(lo, hi, system, unit_code, unit):
                low, high = LEAST if lo is None else number(lo), MOST if hi is None else number(hi)
                self._num.add((keys.quantity_code(code), low, high, system, unit_code, unit))
            case Composite(parts):
                for at, part in enumerate(parts):
                    self.add(keys.part_code(code, at), part)

    def _token(self, code: str, value: Token, mark: str = "") -> None:
        system = value.system or ""
        self.tok.add(keys.key(code, mark + keys.SYSTEM, system))
        if value.code is not None:
            self.tok.add(keys.key(code, mark + keys.TOKEN, system, value.code))
            self.tok.add(keys.key(code, mark + keys.CODE, value.code))
            if value.kind and not mark:
                self.tok.add(keys.key(code, keys.OF_TYPE, *value.kind, value.code))
        if value.text and not mark and (text := fold(value.text)):
            self._str.add(keys.key(code, keys.DISPLAY, text))

    def _reference(self, code: str, value: Reference) -> None:
        if value.url:
            self.tok.add(keys.key(code, keys.URL, value.url))
        elif value.id:
            self._ref.add(keys.reference(code, value.type, value.id))
            self.tok.add(keys.key(code, keys.ID, value.id))
        if value.identifier is not None:
            self._token(code, value.identifier, keys.IDENTIFIED)

    def sort(self, code: str, values: tuple[Value, ...]) -> None:
        found: list[Any] = [key for value in values if (key := sort_key(value)) is not None]
        if found:
            low, high = min(found), max(found)
            if isinstance(low, Decimal):
                low, high = number(low), number(high)
            self._sort[keys.field(code)] = {"a": low, "z": high}

    def document(self) -> Document:
        made: Document = {
            "tok": sorted(self.tok),
            "str": sorted(self._str),
            "ref": sorted(self._ref),
            "dt": [{"p": code, "lo": lo, "hi": hi} for code, lo, hi in sorted(self._dt)],
            "num": [
                {"p": code, "lo": lo, "hi": hi} | ({"s": s, "c": c, "u": u} if s or c or u else {})
                for code, lo, hi, s, c, u in sorted(self._num)
            ],
            "s": self._sort,
        }
        return {name: value for name, value in made.items() if value}
