"""Names, addresses, telecom, people and places of HL7 v2.

Source: HL7/v2-to-fhir at 8c9b414, mappings/datatypes (the map of each function is named in its docstring).
"""

from __future__ import annotations

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, authority, code_of, code_system
from adapters.hl7.maps.tables import table
from adapters.hl7.tokens import Parts, Segment, part

BIRTH_NAMES = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-patient-birth-list-given-name"
NETWORK = "NET"  # table 0201: an address of e-mail, whose use it does not tell
PARTS = "http://hl7.org/fhir/StructureDefinition/humanname-"
FN = ((2, "own-prefix"), (3, "own-name"), (4, "partner-prefix"), (5, "partner-name"))
"""Subcomponent of a family name -> extension."""

_DIGITAL = frozenset({"Internet", "X.400"})


def _leaves(parts: Parts, *numbers: int) -> list[str]:
    return [text for n in numbers if (text := part(parts, n).strip())]


def _period(
    context: Context, segment: Segment, number: int, parts: Parts, start: int, end: int, both: int
) -> dict[str, str]:
    """Read a start and an end, else a range (DR) in one component."""
    texts = part(parts, start), part(parts, end)
    if not any(texts) and both:
        texts = part(parts, both, 1), part(parts, both, 2)
    return context.period(segment, number, *texts)


def human_name(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert XPN. Source: XPN[HumanName], FN[HumanName]; FN.1 is the family name with its prefixes."""
    made: Json = {}
    if use := code_of(context, segment, number, "NameType", part(parts, 7)):
        made["use"] = use
    if family := _family(parts):
        made["family"] = family
        if told := [
            {"url": PARTS + name, "valueString": text} for n, name in FN if (text := part(parts, 1, n).strip())
        ]:
            made["_family"] = {"extension": told}
    for name, numbers in (("given", (2, 3)), ("prefix", (5,)), ("suffix", (4, 6, 14))):
        if found := _leaves(parts, *numbers):
            made[name] = found
    if not made.keys() - {"use"}:
        return None
    if made.get("use") == "official" and len(made.get("given", ())) == 2:
        made |= _birth_names(*made["given"])
    if period := _period(context, segment, number, parts, 12, 13, 10):
        made["period"] = period
    return made


def _family(parts: Parts) -> str:
    """Return the family name: FN.1, else (ours) one's own name with its prefix, else the partner's."""
    ways = ((1,), (2, 3), (4, 5))
    return next(
        (" ".join(found) for way in ways if (found := [t for n in way if (t := part(parts, 1, n).strip())])), ""
    )


def _birth_names(first: str, others: str) -> Json:
    """Return given names as FR Core has them where XPN.3 is the whole list of them, the first one included.

    Ours: French senders write the list so; elsewhere nobody repeats the first name. Not checked in French PAM.
    """
    if not f"{others} ".upper().startswith(f"{first} ".upper()):
        return {}
    return {"given": [first], "extension": [{"url": BIRTH_NAMES, "valueString": others}]}


def text_name(parts: Parts) -> str:
    """Write XPN or the name of XCN.2-6 as one line: prefix, given names, family name."""
    return " ".join(text for text in (*_leaves(parts, 5, 2, 3), _family(parts)) if text)


def address(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert XAD. Source: XAD[Address], SAD[Address]."""
    made: Json = {}
    kind = part(parts, 7)
    if kind in table("AddressType[Type]"):
        made["type"] = table("AddressType[Type]")[kind].code
    elif kind in table("AddressType[Use]"):
        made["use"] = table("AddressType[Use]")[kind].code
    elif kind and kind != "BDL":
        context.note(segment, number, "code-not-mapped", kind)
    street = [part(parts, 1, n).strip() for n in (1, 2, 3)]
    if lines := [line for line in (*street, part(parts, 2).strip(), part(parts, 19).strip()) if line]:
        made["line"] = lines
    names = (("city", 3), ("district", 9), ("state", 4), ("postalCode", 5), ("country", 6))
    for name, at in names:
        if text := part(parts, at).strip():
            made[name] = text
    if not made.keys() - {"use", "type"}:
        return None
    if period := _period(context, segment, number, parts, 13, 14, 12):
        made["period"] = period
    return made


def _number(parts: Parts) -> str:
    """Return the number of a phone: as one text, else put together from its parts."""
    if whole := part(parts, 12):
        return whole
    country, area, local, extension = (part(parts, n) for n in (5, 6, 7, 8))
    if not local:
        return part(parts, 1)
    pieces = (f"+{country.lstrip('+')}" if country else "", area, local, f"X{extension}" if extension else "")
    return " ".join(piece for piece in pieces if piece)


def contact_point(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert XTN. Source: XTN[ContactPoint].

    Ours: without equipment type (XTN.3) it is a phone, or e-mail where XTN.4 is valued.
    """
    kind = part(parts, 3)
    digital = kind in _DIGITAL or (not kind and bool(part(parts, 4)))
    value = (part(parts, 4) or part(parts, 1)) if digital else _number(parts)
    if not value.strip():
        return None
    system = code_of(context, segment, number, "TelecommunicationEquipmentType", kind)
    made: Json = {"system": system or ("email" if digital else "phone"), "value": value.strip()}
    sent = part(parts, 2)
    if sent == NETWORK and digital:  # what it says, the system says already
        sent = ""
    use = "mobile" if kind == "CP" else code_of(context, segment, number, "TelecommunicationUseCode", sent)
    if use:
        made["use"] = use
    if period := _period(context, segment, number, parts, 13, 14, 0):
        made["period"] = period
    rank = part(parts, 18)
    if rank.isascii() and rank.isdigit() and 0 < int(rank) < 1000:
        made["rank"] = int(rank)
    return made


def telecoms(context: Context, segment: Segment, number: int) -> list[Json]:
    """Convert the repetitions of an XTN; one that has a number and an address of e-mail is both."""
    each = (one for parts in segment.repetitions(number) for one in _apart(parts))
    return [found for one in each if (found := contact_point(context, segment, number, one))]


def _apart(parts: Parts) -> list[Parts]:
    """Return a repetition that has a number and, in XTN.4, an address as two: the guide takes one of them."""
    mail, spoken = part(parts, 4), _number(parts)
    if not mail.strip() or not any(sign.isdigit() for sign in spoken) or "@" in spoken:
        return [parts]
    kind = [""] if part(parts, 3) in _DIGITAL else parts[2]
    phone = [*parts[:2], kind, [""], *parts[4:]]
    return [phone, [[""], parts[1], ["Internet"], parts[3], *([[""]] * 8), *parts[12:]]]


def person(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert XCN to a reference that names a Practitioner without making one. Source: XCN[Practitioner]."""
    made: Json = {}
    if value := part(parts, 1):
        system = authority(context, segment, number, parts[8] if len(parts) > 8 else [""])
        made = {
            "type": "Practitioner",
            "identifier": {"system": system or f"{context.facility_system}:people", "value": value},
        }
    # XCN.2-6 stand where XPN.1-5 do.
    if name := text_name(parts[1:]):
        made["display"] = name
    return made or None


def place(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert PL to a reference that names a Location without making one. Source: PL[Location].

    The text goes from the point of care to the bed, then floor, building and facility.
    """
    made = " ".join(_leaves(parts, 1, 2, 3, 8, 7, 4)) or part(parts, 9)
    return {"display": made} if made else None


def organization(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert XON to a reference that names an Organization without making one. Source: XON[Organization].

    Its number is XON.10, else XON.3.
    """
    made: Json = {}
    if value := part(parts, 10) or part(parts, 3):
        system = authority(context, segment, number, parts[5] if len(parts) > 5 else [""])
        own = system or f"{context.facility_system}:organizations"
        made = {"type": "Organization", "identifier": {"system": own, "value": value}}
    if name := part(parts, 1):
        made["display"] = name
    return made or None


def coded_organization(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert CWE to a reference that names an Organization without making one. Source: CWE[Organization]."""
    code, name = part(parts, 1).strip(), part(parts, 9).strip() or part(parts, 2).strip()
    if not code:
        return {"display": name} if name else None
    system = code_system(context, segment, number, part(parts, 3).strip(), part(parts, 14))
    own = system or f"{context.facility_system}:organizations"
    return {"type": "Organization", "identifier": {"system": own, "value": code}, "display": name or code}
