"""PID to Patient. Guide: HL7/v2-to-fhir at 8c9b414, segments/PID[Patient]; "ours" where it leaves a choice."""

from __future__ import annotations

from typing import Any, Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, code_of, coded, identifier, mapped
from adapters.hl7.demography import address, human_name, telecoms, text_name
from adapters.hl7.ids import unique
from adapters.hl7.maps.extensions import OWN, has_url
from adapters.hl7.maps.french import insee
from adapters.hl7.maps.rows import GONE, Owns, Row, repeated, single
from adapters.hl7.tokens import NULL, Parts, Segment, part

EXTENSIONS = "http://hl7.org/fhir/StructureDefinition/"
UNKNOWN = OWN + "identity-unknown"
BIRTH_PLACE = "BDL"  # table 0190: birth delivery location


def _birth_date(context: Context, segment: Segment, number: int) -> Any:
    moment = context.moment(segment, number, segment.text(number))
    return moment.date if moment else None


def _birth_time(context: Context, segment: Segment, number: int) -> Any:
    text = segment.text(number)
    moment = context.moment(segment, number, text) if len(text) > 8 else None
    if moment is None or not moment.is_full:
        return GONE
    return {"extension": [{"url": EXTENSIONS + "patient-birthTime", "valueDateTime": moment.text}]}


def _gender(context: Context, segment: Segment, number: int) -> Any:
    return code_of(context, segment, number, "AdministrativeSex", segment.text(number))


def _addresses(context: Context, segment: Segment, number: int) -> Any:
    found = [p for p in segment.repetitions(number) if part(p, 7) != BIRTH_PLACE]
    made = [a for p in found if (a := address(context, segment, number, p))]
    district = segment.text(12)
    if district and len(made) == 1 and "district" not in made[0]:
        made[0]["district"] = district
    return made or None


def _birth_places(context: Context, segment: Segment, number: int) -> Any:
    found = [p for p in segment.repetitions(number) if part(p, 7) == BIRTH_PLACE]
    made = address(context, segment, number, found[0]) if found else None
    made = insee(made, found[0]) if made else None
    if made and (text := segment.text(23).strip()) and segment.raw(23) != NULL:
        made = {**made, "text": text}
    return [{"url": EXTENSIONS + "patient-birthPlace", "valueAddress": made}] if made else None


def _telecom(use: str) -> Any:
    """Return the converter of PID-13 or PID-14, which takes in what PID-40 has of the same sort."""

    def convert(context: Context, segment: Segment, number: int) -> Any:
        made = [{**one, "use": one.get("use", use)} for one in telecoms(context, segment, number)]
        return [*made, *(one for one in _others(context, segment, use) if one not in made)] or None

    return convert


def _others(context: Context, segment: Segment, use: str) -> list[Json]:
    """Return the telecom of PID-40 that is of the work, or that is not."""
    if segment.raw(40) in ("", NULL):
        return []
    return [one for one in telecoms(context, segment, 40) if (one.get("use") == "work") is (use == "work")]


def _telecom_alone(field: int, use: str) -> Any:
    """Return the converter of PID-40 where PID-13 or PID-14 does not take it in."""

    def convert(context: Context, segment: Segment, number: int) -> Any:
        is_taken = segment.raw(field) not in ("", NULL)
        return None if is_taken else _others(context, segment, use) or None

    return convert


def _extension(name: str, key: str, convert: Any) -> Any:
    def every(context: Context, segment: Segment, number: int) -> Any:
        made = [convert(context, segment, number, p) for p in segment.repetitions(number)]
        return [{"url": EXTENSIONS + name, key: value} for value in made if value] or None

    return every


def _inner(name: str, convert: Any) -> Any:
    def every(context: Context, segment: Segment, number: int) -> Any:
        made = [convert(context, segment, number, p) for p in segment.repetitions(number)]
        return [
            {"url": EXTENSIONS + name, "extension": [{"url": "code", "valueCodeableConcept": value}]}
            for value in made
            if value
        ] or None

    return every


def _is(name: str) -> Owns:
    return lambda item: item.get("url") == EXTENSIONS + name


def _text(context: Context, segment: Segment, number: int, parts: Parts) -> Any:
    return part(parts, 1) or None


def _name(context: Context, segment: Segment, number: int, parts: Parts) -> Any:
    return text_name(parts) or None


def _birth_place_text(context: Context, segment: Segment, number: int) -> Any:
    """Return the place of birth by its name alone; None where PID-11 has it as an address, which takes the name in."""
    if _birth_places(context, segment, 11):
        return None
    text = segment.text(number)
    return [{"url": EXTENSIONS + "patient-birthPlace", "valueAddress": {"text": text}}] if text else None


def _languages(context: Context, segment: Segment, number: int) -> Any:
    made = [coded(context, segment, number, p) for p in segment.repetitions(number)]
    return [{"language": language} for language in made if language] or None


def _boolean(element: str) -> Any:
    def convert(context: Context, segment: Segment, number: int) -> Any:
        code = code_of(context, segment, number, "YesNoIndicator", segment.text(number))
        return {element: code == "true"} if code else None

    return convert


def _deceased_at(context: Context, segment: Segment, number: int) -> Any:
    moment = context.moment(segment, number, segment.text(number))
    return {"deceasedDateTime": moment.text} if moment else None


def _deceased(context: Context, segment: Segment, number: int) -> Any:
    return None if segment.is_valued(29) else _boolean("deceasedBoolean")(context, segment, number)


def _unknown(context: Context, segment: Segment, number: int) -> Any:
    code = code_of(context, segment, number, "YesNoIndicator", segment.text(number))
    return [{"url": UNKNOWN, "valueBoolean": True}] if code == "true" else GONE if code else None


def _birth_order(context: Context, segment: Segment, number: int) -> Any:
    text = segment.text(number)
    if not text.isascii() or not text.isdigit() or len(text) > 2:
        context.note(segment, number, "number-malformed")
        return None
    return {"multipleBirthInteger": int(text)}


def _multiple_birth(context: Context, segment: Segment, number: int) -> Any:
    return None if segment.is_valued(25) else _boolean("multipleBirthBoolean")(context, segment, number)


def _is_work(item: dict[str, Any]) -> bool:
    return item.get("use") == "work"


def _is_not_work(item: dict[str, Any]) -> bool:
    return not _is_work(item)


def _none(item: dict[str, Any]) -> bool:
    return False


def _all(item: dict[str, Any]) -> bool:
    return True


PID_TO_PATIENT: Final = (
    Row(2, "identifier", repeated(identifier), "PID-2"),
    Row(3, "identifier", repeated(identifier), "PID-3"),
    Row(4, "identifier", repeated(identifier), "PID-4"),
    Row(5, "name", repeated(human_name), "PID-5", _all),
    Row(9, "name", repeated(human_name), "PID-9; ours: an alias is added to the names", _none, 5),
    Row(
        6,
        "extension",
        _extension("patient-mothersMaidenName", "valueString", _name),
        "PID-6",
        _is("patient-mothersMaidenName"),
    ),
    Row(7, "birthDate", _birth_date, "PID-7"),
    Row(7, "_birthDate", _birth_time, "PID-7 where longer than 8"),
    Row(8, "gender", _gender, "PID-8, AdministrativeSex"),
    Row(11, "address", _addresses, "PID-11, PID-12"),
    Row(11, "extension", _birth_places, "ours: PID-11.7 BDL: no address of theirs", _is("patient-birthPlace"), 23),
    Row(13, "telecom", _telecom("home"), "PID-13", _is_not_work),
    Row(14, "telecom", _telecom("work"), "PID-14", _is_work),
    Row(40, "telecom", _telecom_alone(13, "home"), "PID-40; ours: renews what PID-13 says", _is_not_work, 13),
    Row(40, "telecom", _telecom_alone(14, "work"), "PID-40; ours: renews what PID-14 says", _is_work, 14),
    Row(15, "communication", _languages, "PID-15"),
    Row(16, "maritalStatus", single(mapped("MaritalStatus")), "PID-16, MaritalStatus"),
    Row(
        17,
        "extension",
        _extension("patient-religion", "valueCodeableConcept", mapped("Religion")),
        "PID-17",
        _is("patient-religion"),
    ),
    Row(23, "extension", _birth_place_text, "PID-23; ours: the text of PID-11 BDL", _is("patient-birthPlace")),
    Row(24, "multipleBirth[x]", _multiple_birth, "PID-24 where PID-25 is empty"),
    Row(25, "multipleBirth[x]", _birth_order, "PID-25"),
    Row(26, "extension", _inner("patient-citizenship", coded), "PID-26", _is("patient-citizenship")),
    Row(28, "extension", _inner("patient-nationality", coded), "PID-28", _is("patient-nationality")),
    Row(29, "deceased[x]", _deceased_at, "PID-29"),
    Row(30, "deceased[x]", _deceased, "PID-30 where PID-29 is empty"),
    Row(31, "extension", _unknown, "ours: PID-31, for which the guide has no element", has_url(UNKNOWN)),
)


MOTHER: Final = frozenset({21})


def mother(context: Context, pid: Segment, patient: tuple[str, str]) -> Json | None:
    """Return the RelatedPerson that PID-21 numbers: the mother. Guide: CX[RelatedPerson-Mother]."""
    numbers = [one for parts in pid.repetitions(21) if (one := identifier(context, pid, 21, parts))]
    if not numbers:
        return None
    context.take(pid, MOTHER)
    relationship = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}
    return {
        "resourceType": "RelatedPerson",
        "id": unique(context, pid, ("RelatedPerson", context.tenant, *patient, "mother"), 21),
        "active": True,
        "identifier": numbers,
        "relationship": [{"coding": [relationship]}],
    }


USED: Final = frozenset({1, 12, 32} | {row.field for row in PID_TO_PATIENT})
"""Fields that count as used: 1 is a running number, 12 belongs to 11, 32 to the identity; 18 and 21 where read."""
