"""Compile R4's code systems, value sets and concept maps into `fhir_server/definitions/terminology.bin`.

`python -m tools.definitions` calls it. The file is an index and blocks of about 128 kB of JSON, each compressed by
itself, so that the server reads only the block of what it is asked for.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/terminologies.html
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

Json = dict[str, Any]
Package = Mapping[str, list[Json]]

BLOCK = 131_072  # bytes of JSON after which a block ends
TYPES = ("CodeSystem", "ValueSet", "ConceptMap")
LISTED = "Listed"
# Source of the names: https://hl7.org/fhir/R4/terminologies-systems.html
NAMES = {
    "http://hl7.org/fhir/sid/cvx": "CVX",
    "http://loinc.org": "LOINC",
    "http://snomed.info/sct": "SNOMED CT",
    "http://unitsofmeasure.org": "UCUM",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    "http://www.whocc.no/atc": "ATC",
    "urn:ietf:bcp:13": "MIME types (BCP 13)",
    "urn:ietf:bcp:47": "Language tags (BCP 47)",
    "urn:iso:std:iso:11073:10101": "ISO 11073-10101",
    "urn:iso:std:iso:3166": "ISO 3166",
}
# Of the definitions' own making (maturity, work group); no operation of the server looks at them.
NOISE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-"


def slim(resource: Json) -> Json:
    """Return a resource without narrative, contact and editorial extensions."""
    made = {k: v for k, v in resource.items() if k not in ("text", "contact", "meta", "extension")}
    kept = [x for x in resource.get("extension", ()) if not x["url"].startswith(NOISE)]
    if "concept" in made:
        made["concept"] = [concept(c) for c in made["concept"]]
    return made | ({"extension": kept} if kept else {})


def concept(data: Json) -> Json:
    """Return a concept without its comments."""
    made = {k: v for k, v in data.items() if k != "extension"}
    if "concept" in made:
        made["concept"] = [concept(c) for c in made["concept"]]
    return made


def listed(package: Package) -> Iterator[Json]:
    """Yield, for each code system whose content the package does not hold, the codes that its value sets name.

    They are fragments: a code that is not among them may still exist.
    """
    held = {r["url"] for r in package["CodeSystem"] if r["content"] not in ("not-present", "supplement")}
    about = {r["url"]: slim(r) for r in package["CodeSystem"] if r["content"] == "not-present"}
    found: dict[str, dict[str, Json]] = {}
    for value_set in package["ValueSet"]:
        for include in value_set.get("compose", {}).get("include", ()):
            if include.get("system", "") in held or "system" not in include:
                continue
            codes = found.setdefault(include["system"], {})
            for given in include.get("concept", ()):
                known = codes.setdefault(given["code"], {"code": given["code"]})
                for key in ("display", "designation"):
                    if key in given:
                        known.setdefault(key, given[key])
    for system in sorted(found):
        codes = found[system]
        if codes:
            base = {"resourceType": "CodeSystem", "url": system, "status": "active"}
            base |= {"title": NAMES[system]} if system in NAMES else {}
            yield base | about.get(system, {}) | {"content": "fragment", "concept": [codes[c] for c in sorted(codes)]}


def currencies(expansions: Mapping[str, Json]) -> Json:
    """Return ISO 4217 as far as HL7's expansion of R4's value set of currencies names it: a fragment."""
    contains = expansions["http://hl7.org/fhir/ValueSet/currencies"]["expansion"]["contains"]
    return {
        "resourceType": "CodeSystem",
        "id": "iso4217",
        "url": "urn:iso:std:iso:4217",
        "title": "ISO 4217 currencies",
        "status": "active",
        "content": "fragment",
        "caseSensitive": True,
        "concept": [{"code": c["code"], "display": c["display"]} for c in contains],
    }


def digest(members: Iterable[tuple[str, str]]) -> str:
    """Return a short hash of a set of (system, code)."""
    text = "\n".join(f"{system}|{code}" for system, code in sorted(members))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def coded(contains: Iterable[Json]) -> Iterator[tuple[str, str]]:
    """Yield (system, code) of an expansion, at every depth."""
    for entry in contains:
        if "code" in entry:
            yield entry.get("system", ""), entry["code"]
        yield from coded(entry.get("contains", ()))


def digests(expansions: Mapping[str, Json]) -> bytes:
    """Return, as JSON, url -> digest of HL7's expansions that are whole: what tests hold ours to."""
    found = {}
    for url in sorted(expansions):
        expansion = expansions[url]["expansion"]
        members = set(coded(expansion.get("contains", ())))
        if members and expansion.get("total", len(members)) == len(members):
            found[url] = digest(members)
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def compile_terminology(package: Package, expansions: Mapping[str, Json]) -> bytes:
    """Return the bytes of terminology.bin.

    They are: the length of the index (4 bytes, big-endian), the index (zlib over msgpack), the blocks. The index is
    {"blocks": [[offset after the index, length]], "places": {type: {url: [version, id, block, start, length]}}}.
    """
    encode = msgspec.json.Encoder().encode
    package = {**package, "CodeSystem": [*package["CodeSystem"], currencies(expansions)]}
    resources = [(type, slim(r)) for type in TYPES for r in sorted(package[type], key=lambda r: str(r["url"]))]
    resources += [(LISTED, r) for r in listed(package)]
    places: dict[str, dict[str, list[Any]]] = {type: {} for type in (*TYPES, LISTED)}
    blocks: list[bytes] = []
    open_block = bytearray()
    for type, resource in resources:
        body = encode(resource)
        place = [resource.get("version", ""), resource.get("id", ""), len(blocks), len(open_block), len(body)]
        places[type][resource["url"]] = place
        open_block += body
        if len(open_block) >= BLOCK:
            blocks.append(zlib.compress(bytes(open_block), 9))
            open_block.clear()
    blocks.append(zlib.compress(bytes(open_block), 9))
    spans, at = [], 0
    for block in blocks:
        spans.append([at, len(block)])
        at += len(block)
    index = zlib.compress(msgspec.msgpack.encode({"blocks": spans, "places": places}), 9)
    return struct.pack(">I", len(index)) + index + b"".join(blocks)
