"""What Withings sends and answers: a notification is thin, the measurements are asked for.

Shapes and type numbers were read in public clients of this interface, not against the service itself. A number is
`value` x 10^`unit`; a group is known by its `grpid`; category 2 is a goal, no measurement; `attrib` says whether the
measure is surely this user's. Source: https://developer.withings.com/api-reference
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeGuard
from urllib.parse import parse_qsl, urlencode

from adapters.devices import reason
from adapters.devices.message import Received
from adapters.devices.reading_json import is_text, read_reading
from adapters.devices.reason import Reason
from fhir_server import gate
from fhir_server.errors import BadRequest, FhirError, Unavailable


class Type(NamedTuple):
    """What a type of measure is."""

    code: str
    unit: str  # UCUM
    system: str = "loinc"  # or mdc, where the table of measures has no LOINC code


MEASURES: Final = MappingProxyType(
    {
        1: Type("29463-7", "kg"),
        4: Type("8302-2", "m"),
        5: Type("188756", "kg", "mdc"),
        6: Type("41982-0", "%"),
        9: Type("8462-4", "mm[Hg]"),
        10: Type("8480-6", "mm[Hg]"),
        11: Type("8867-4", "/min"),
        12: Type("8310-5", "Cel"),
        54: Type("59408-5", "%"),
        71: Type("8310-5", "Cel"),
        76: Type("188776", "kg", "mdc"),
        77: Type("188764", "kg", "mdc"),
    }
)
"""Types of measures that are taken. Others (mass of fat or bone, temperature of the skin, pulse wave) stay aside."""

GOAL: Final = 2  # category
_DIASTOLIC, _SYSTOLIC, _PANEL = 9, 10, "85354-9"
_ATTRIBUTION: Final[Mapping[int, Reason | str | None]] = MappingProxyType(
    {
        0: None,  # captured by a device, surely this user's
        1: reason.USER_AMBIGUOUS,
        2: "manual",
        4: reason.NOT_MEASURED,  # typed when the account was made
        5: None,  # the best of several pressures
        7: None,  # confirmed by the user
        8: None,  # as 0
        15: None,  # in guided conditions
        17: None,
    }
)
MEASURED: Final = frozenset({"", "1", "2", "4"})  # kinds of notification whose data are measure groups, or not told
ENDING: Final = frozenset({"delete", "unlink", "revoke"})  # actions after which nothing may be asked for any more
_MAX_EXPONENT: Final = 12
_MAX_GROUPS: Final = 1_000
_LATEST: Final = 2**33  # seconds since 1970: the year 2242
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Notification(NamedTuple):
    """What a webhook says: something of a user's is new between two times."""

    user: str
    kind: str  # appli: 1 weight, 2 temperature, 4 pressure, pulse, saturation …
    start: int  # seconds since 1970; 0 not told
    end: int
    action: str  # delete unlink update, "" none


class Answered(NamedTuple):
    """One page of measurements."""

    readings: tuple[Received, ...]
    goals: int  # groups that are goals: never filed
    next: int | None  # offset of the next page


class Refused(FhirError):
    """The vendor does not take the access token."""

    status, code = 401, "login"


def read_notification(body: bytes) -> Notification:
    """Read a notification: form fields `userid`, `appli`, `startdate`, `enddate` or `date`, `action`.

    Raises:
        BadRequest: It names no user, or a time is none.
    """
    try:
        fields = dict(parse_qsl(body.decode("utf-8"), max_num_fields=50))
    except (UnicodeDecodeError, ValueError):
        raise BadRequest("The notification is no form.") from None
    user = fields.get("userid", "")
    if not is_text(user):
        raise BadRequest("The notification names no user.")
    start, end = _seconds(fields.get("startdate", "")), _seconds(fields.get("enddate", ""))
    return Notification(user, fields.get("appli", "")[:8], start, max(start, end), fields.get("action", "")[:16])


def _seconds(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise BadRequest("A time of the notification is none.")
    return int(text)


def question(*, start: int = 0, end: int = 0, since: int = 0, offset: int = 0) -> bytes:
    """Return the form that asks for measurements: taken between two times, or changed since one; in seconds."""
    fields = {"action": "getmeas", "category": 1}
    fields |= {"lastupdate": since} if since else {"startdate": start, "enddate": end}
    fields |= {"offset": offset} if offset else {}
    return urlencode(fields).encode()


def renewal(client_id: str, client_secret: str, refresh_token: str) -> bytes:
    """Return the form that asks for a new access token."""
    fields = {
        "action": "requesttoken",
        "grant_type": "refresh_token",
        "client_id": client_id,
        "client_secret": client_secret,
        "refresh_token": refresh_token,
    }
    return urlencode(fields).encode()


def answer_of(status: int, body: bytes) -> Mapping[str, Any]:
    """Return the `body` of an answer; 200 says nothing by itself, its `status` does.

    Raises:
        Refused: The token does not hold (401).
        Unavailable: Any other failure, too many requests (601) among them: ask again later.
    """
    if status == 401:
        raise Refused("The vendor does not take the access token.")
    if status != 200:
        raise Unavailable(f"The vendor answered with status {status}.")
    try:
        value = gate.parse(body)
    except FhirError:
        raise Unavailable("The vendor's answer is no JSON.") from None
    said = value.get("status") if isinstance(value, dict) else None
    if said == 401:
        raise Refused("The vendor does not take the access token.")
    held = value.get("body") if isinstance(value, dict) else None
    if said != 0 or not isinstance(held, dict):
        raise Unavailable("The vendor's answer says that it failed.")
    return held


def read_groups(held: Mapping[str, Any], *, vendor: str) -> Answered:
    """Read a page of measurements.

    Raises:
        Unavailable: It has no groups, or more than 1,000.
    """
    groups = held.get("measuregrps")
    if not isinstance(groups, list) or len(groups) > _MAX_GROUPS:
        raise Unavailable("The vendor's answer has no groups of measures, or too many.")
    real = [group for group in groups if not (isinstance(group, dict) and group.get("category") == GOAL)]
    readings = tuple(item for group in real for item in _received(group, vendor))
    offset = held.get("offset")
    goes_on = held.get("more") in (1, True) and isinstance(offset, int) and offset > 0
    return Answered(readings, len(groups) - len(real), offset if goes_on else None)


def _received(group: Any, vendor: str) -> list[Received]:
    """Return the readings of a group; one that cannot be read is kept aside whole."""
    if not isinstance(group, dict):
        return [Received({"group": group}, reason.MALFORMED)]
    kept = {key: group[key] for key in ("grpid", "attrib", "date", "category", "deviceid", "measures") if key in group}
    measures, id, date = group.get("measures"), group.get("grpid"), group.get("date")
    if not isinstance(measures, list) or not all(isinstance(item, dict) for item in measures):
        return [Received(kept, reason.MALFORMED)]
    if not _is_whole(id) or not _is_whole(date) or not 0 <= date < _LATEST or group.get("category") != 1:
        return [Received(kept, reason.MALFORMED)]
    attrib = group.get("attrib")
    attribution = _ATTRIBUTION.get(attrib, reason.USER_AMBIGUOUS) if _is_whole(attrib) else reason.USER_AMBIGUOUS
    if isinstance(attribution, Reason):
        return [Received(kept, attribution)]
    common: dict[str, Any] = {"at": f"{_EPOCH + timedelta(seconds=date):%Y-%m-%dT%H:%M:%S}Z"}
    common |= {"status": [attribution]} if attribution else {}
    return [_reading(raw, common, f"{vendor}:{id}") for raw in _raws(measures)]


def _raws(measures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is measured: systolic and diastolic pressure as one."""
    types = {item["type"]: item for item in measures if _is_whole(item.get("type"))}
    parts: list[dict[str, Any]] = []
    pair = (types.get(_SYSTOLIC), types.get(_DIASTOLIC))
    for item in measures:
        if all(pair) and any(item is one for one in pair):
            continue
        known = MEASURES.get(item["type"]) if _is_whole(item.get("type")) else None
        parts.append({**known._asdict(), "value": _value(item)} if known else {"measure": item})
    if pair[0] and pair[1]:
        components = [
            {"code": MEASURES[one["type"]].code, "value": _value(one), "unit": "mm[Hg]"} for one in pair if one
        ]
        parts.append({"code": _PANEL, "components": components})
    return parts


def _reading(raw: dict[str, Any], common: Mapping[str, Any], id: str) -> Received:
    if "measure" in raw:
        return Received({**raw, **common, "id": id}, reason.CODE_UNKNOWN)
    whole = {**raw, **common, "id": f"{id}:{raw['code']}"}
    return Received(whole, read_reading(whole))


def _value(item: Mapping[str, Any]) -> Any:
    """Return value x 10^unit, every digit kept; what is no such number is left to be found unreadable."""
    value, exponent = item.get("value"), item.get("unit")
    if not _is_whole(value) or not _is_whole(exponent) or abs(exponent) > _MAX_EXPONENT or abs(value) >= 10**15:
        return "unreadable"
    return format(Decimal(value).scaleb(exponent), "f")


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
