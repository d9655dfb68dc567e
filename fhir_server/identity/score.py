"""How likely two Patients are the same person, from what they have in common and what speaks against it.

The weights are those of Fellegi and Sunter: each field adds log2(m/u) where it agrees and log2((1-m)/(1-u)) where it
does not, m being how often it agrees for one person and u for two different ones; what is missing on a side adds
nothing. Values of m and u are our own estimates for French records (names by their usual frequency, births spread over
80 years); they are tested on made cases only and not clinically validated.
Source of the method: Fellegi, Sunter, A Theory for Record Linkage, JASA 64 (328), 1969,
https://doi.org/10.1080/01621459.1969.10501049
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from functools import cached_property
from typing import Any, Final, NamedTuple

from fhir_server.identity.ins import ins_of, is_qualified
from fhir_server.identity.likeness import any_near
from fhir_server.model import Resource
from fhir_server.search.fold import fold

PRIOR: Final = -18.0  # log2 of the odds that two Patients, taken at random, are one: about 1 in 260,000
CERTAIN, PROBABLE, POSSIBLE = "certain", "probable", "possible"
NOT: Final = "certainly-not"
_PROBABLE: Final = 0.9
_POSSIBLE: Final = 0.10

# Weights in bits: (m, u) -> log2(m/u), rounded to halves. The first of a field is for full agreement, the last against.
IDENTIFIER: Final = (20.0, -1.0)  # same system: same value m=.95 u=1e-6; another value: numbers of a place change
INS_DIFFERS: Final = -10.0  # two numbers of the nation: one person has one
FAMILY: Final = (8.0, 6.0, 4.5, -4.0)  # equal; one name of several (birth and married name); one letter off; else
GIVEN: Final = (6.0, 4.5, 3.5, 1.0, -4.0)  # first equal; some equal; one letter off; an initial; else
SWAPPED: Final = 11.0  # family and given names in each other's place
BIRTH: Final = (12.0, 6.5, 5.0, 2.5, -6.0)  # equal; day and month swapped; one digit or day off; year alone; else
GENDER: Final = (1.0, 0.0, -4.0)  # equal; unknown or other; male and female
POSTCODE: Final = (4.0, -0.5)  # people move
CITY: Final = (2.0, -0.5)
STREET: Final = (3.0, 0.0)
TELECOM: Final = (8.0, -0.5)


class Score(NamedTuple):
    """What a comparison came to."""

    probability: float  # 0 to 1, of being one person
    grade: str  # certain, probable, possible or certainly-not
    bits: float


class Person:
    """A Patient as it is compared."""

    def __init__(self, patient: Resource) -> None:
        self.patient = patient
        self.gender = patient.get("gender", "")
        self.birth = patient.get("birthDate", "")

    @cached_property
    def families(self) -> list[str]:
        """Family names, folded; those of several words also by word."""
        names = [fold(name["family"]) for name in self._names if name.get("family")]
        return list(dict.fromkeys(names))

    @cached_property
    def givens(self) -> list[str]:
        """Given names, folded, in order."""
        words = [fold(given) for name in self._names for given in name.get("given", ()) if given]
        return list(dict.fromkeys(words))

    @property
    def _names(self) -> Sequence[dict[str, Any]]:
        return [name for name in self.patient.get("name", ()) if name.get("use") != "anonymous"]

    @cached_property
    def identifiers(self) -> dict[str, set[str]]:
        """Values by system."""
        made: dict[str, set[str]] = {}
        for identifier in self.patient.get("identifier", ()):
            if identifier.get("system") and identifier.get("value"):
                made.setdefault(identifier["system"], set()).add("".join(identifier["value"].split()))
        return made

    @cached_property
    def telecoms(self) -> set[str]:
        """Numbers and addresses, as they are compared: a French 0 and +33 are the same."""
        return {made for contact in self.patient.get("telecom", ()) if (made := _telecom(contact.get("value", "")))}

    def addresses(self, part: str) -> set[str]:
        """Return one part of all addresses, folded."""
        found = (address.get(part, "") for address in self.patient.get("address", ()))
        return {fold(value) for value in found if value}

    @cached_property
    def streets(self) -> set[str]:
        """Lines of addresses, folded."""
        return {fold(line) for address in self.patient.get("address", ()) for line in address.get("line", ()) if line}


def compare(one: Person, other: Person) -> Score:
    """Return how likely two Patients are one person."""
    bits = PRIOR + sum(weights(one, other))
    probability = 1 / (1 + 2.0 ** min(60.0, max(-60.0, -bits)))
    if shares_qualified_ins(one, other):
        return Score(max(probability, 0.9999), CERTAIN, bits)
    if probability >= _PROBABLE:
        return Score(probability, PROBABLE, bits)
    return Score(probability, POSSIBLE if probability >= _POSSIBLE else NOT, bits)


def shares_qualified_ins(one: Person, other: Person) -> bool:
    """Whether both have the same INS, and one of them, whose identity is qualified, vouches for it."""
    common = set(ins_of(one.patient)) & set(ins_of(other.patient))
    return bool(common) and (is_qualified(one.patient) or is_qualified(other.patient))


def weights(one: Person, other: Person) -> Iterable[float]:
    """Yield the weight of each field that both sides have."""
    yield _identifiers(one, other)
    yield _names(one, other)
    if one.birth and other.birth:
        yield BIRTH[_birth(one.birth, other.birth)]
    if one.gender and other.gender:
        both = {one.gender, other.gender}
        yield GENDER[0] if len(both) == 1 else GENDER[2] if both == {"male", "female"} else GENDER[1]
    for weight, ours, theirs in (
        (POSTCODE, one.addresses("postalCode"), other.addresses("postalCode")),
        (CITY, one.addresses("city"), other.addresses("city")),
        (STREET, one.streets, other.streets),
        (TELECOM, one.telecoms, other.telecoms),
    ):
        if ours and theirs:
            yield weight[0] if ours & theirs else weight[1]


def _identifiers(one: Person, other: Person) -> float:
    shared = one.identifiers.keys() & other.identifiers.keys()
    if not shared:
        return 0.0
    if any(one.identifiers[system] & other.identifiers[system] for system in shared):
        return IDENTIFIER[0]
    systems = {system for system, _ in ins_of(one.patient)} & {system for system, _ in ins_of(other.patient)}
    return INS_DIFFERS if systems else IDENTIFIER[1]


def _names(one: Person, other: Person) -> float:
    family = _family(one.families, other.families) if one.families and other.families else None
    given = _given(one.givens, other.givens) if one.givens and other.givens else None
    straight = (family or 0.0) + (given or 0.0)
    crossed = _crosses(one, other) and _crosses(other, one)
    return max(straight, SWAPPED) if crossed else straight


def _crosses(one: Person, other: Person) -> bool:
    ours, theirs = ({word for name in names for word in name.split()} for names in (one.families, other.givens))
    return bool(ours & theirs)


def _family(ones: Sequence[str], others: Sequence[str]) -> float:
    if set(ones) & set(others):
        return FAMILY[0]
    ours, theirs = ({word for name in names for word in name.split() if len(word) > 2} for names in (ones, others))
    if ours & theirs:
        return FAMILY[1]
    return FAMILY[2] if any_near(ones, others) else FAMILY[3]


def _given(ones: Sequence[str], others: Sequence[str]) -> float:
    if ones[0] == others[0]:
        return GIVEN[0]
    ours, theirs = ({word for name in names for word in name.split()} for names in (ones, others))
    if ours & theirs - {""}:
        return GIVEN[1]
    if any_near(ones, others):
        return GIVEN[2]
    initial = {word[:1] for word in ours if len(word) == 1} & {word[:1] for word in theirs}
    initial |= {word[:1] for word in theirs if len(word) == 1} & {word[:1] for word in ours}
    return GIVEN[3] if initial else GIVEN[4]


def _birth(one: str, other: str) -> int:
    """Return which of the weights of a birth date holds."""
    if one == other:
        return 0 if len(one) == 10 else 2 if len(one) == 7 else 3
    shorter = min(len(one), len(other))
    if shorter < 10:
        return (2 if shorter == 7 else 3) if one[:shorter] == other[:shorter] else 4
    if one[:4] == other[:4] and one[5:7] == other[8:] and one[8:] == other[5:7]:
        return 1
    digits = sum(a != b for a, b in zip(one, other, strict=True))
    transposed = digits == 2 and sorted(one[:4]) == sorted(other[:4]) and one[4:] == other[4:]
    if digits == 1 or transposed or _days_apart(one, other) == 1:
        return 2
    return 4


def _days_apart(one: str, other: str) -> int | None:
    try:
        return abs((date.fromisoformat(one) - date.fromisoformat(other)).days)
    except ValueError:
        return None


def _telecom(text: str) -> str:
    if "@" in text:
        return text.strip().lower()
    digits = "".join(c for c in text if c.isdigit())
    if digits.startswith("0033"):
        digits = digits[4:]
    elif digits.startswith("33") and len(digits) == 11:
        digits = digits[2:]
    return digits.lstrip("0") if len(digits) >= 8 else ""
