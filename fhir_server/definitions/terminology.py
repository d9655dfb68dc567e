"""R4's own code systems, value sets and concept maps, read from `terminology.bin` one at a time.

Nothing is read before the first question, and of the file only its index stays in memory.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/terminologies.html
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, NamedTuple

import msgspec

LISTED: Final = "Listed"
"""Code systems that others publish, with the codes that R4's value sets name: fragments."""


class Place(NamedTuple):
    """Where the JSON of a resource stands."""

    version: str
    id: str
    block: int
    start: int  # in the block, in bytes
    length: int


class _Index(msgspec.Struct):
    blocks: list[tuple[int, int]]  # offset after the index, length
    places: dict[str, dict[str, Place]]  # type -> url


def _path() -> Traversable:
    return files(__package__) / "terminology.bin"


@cache
def _index() -> tuple[int, _Index]:
    """Return where the blocks begin, and the index."""
    with _path().open("rb") as file:
        (length,) = struct.unpack(">I", file.read(4))
        return 4 + length, msgspec.msgpack.decode(zlib.decompress(file.read(length)), type=_Index)


@cache
def _ids(type: str) -> dict[str, str]:
    return {place.id: url for url, place in _index()[1].places[type].items()}


def place(type: str, url: str) -> Place | None:
    """Return where R4's resource of that canonical url stands; None when R4 has none.

    Args:
        type: CodeSystem, ValueSet, ConceptMap or `LISTED`.
        url: Without version.
    """
    return _index()[1].places[type].get(url)


def url_of(type: str, id: str) -> str | None:
    """Return the canonical url of R4's resource with that id."""
    return _ids(type).get(id)


def urls(type: str) -> tuple[str, ...]:
    """Return the canonical urls of R4's resources of a type."""
    return tuple(_index()[1].places[type])


def read(place: Place) -> dict[str, Any]:
    """Return the resource at a place; numbers that are no integers are floats."""
    made: dict[str, Any] = msgspec.json.decode(_block(place.block)[place.start : place.start + place.length])
    return made


def every(type: str) -> Iterator[dict[str, Any]]:
    """Yield all of R4's resources of a type, each block read once."""
    number, block = -1, b""
    for place in _index()[1].places[type].values():
        if place.block != number:
            number, block = place.block, _block(place.block)
        yield msgspec.json.decode(block[place.start : place.start + place.length])


def _block(number: int) -> bytes:
    start, index = _index()
    offset, length = index.blocks[number]
    with _path().open("rb") as file:
        file.seek(start + offset)
        return zlib.decompress(file.read(length))
