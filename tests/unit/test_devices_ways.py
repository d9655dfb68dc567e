"""The ways of device feeds, part by part: topics, statuses, signatures, vendors' files, tokens, measures of Withings."""

from __future__ import annotations

import base64
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.devices import account, presence, reason, signature
from adapters.devices.account import Account, Tokens
from adapters.devices.assessment import assess
from adapters.devices.broker import Broker
from adapters.devices.reading import Measured, Reading
from adapters.devices.topic import Topic, read_topic
from adapters.devices.vendor import Vendor, read_vendors
from adapters.devices.withings import Refused, answer_of, read_groups, read_notification
from fhir_server.errors import FhirError, Unavailable
from fhir_server.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        pytest.param("dev/default/gw-1/SN-1/obs", Topic("default", "gw-1", "SN-1", "obs"), id="a device's readings"),
        pytest.param(
            "dev/default/gw-1/a%2Fb%2B/evt", Topic("default", "gw-1", "a/b+", "evt"), id="a name with / and +"
        ),
        pytest.param("dev/default/gw-1/SN-1/cmd", None, id="another kind"),
        pytest.param("dev/default/gw-1//obs", None, id="no device"),
        pytest.param("dev/default/gw-1/a%00/obs", None, id="a control character"),
        pytest.param("dev/default/gw-1/SN-1/obs/more", None, id="a level more"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_topics(text: str, topic: Topic | None) -> None:
    assert read_topic(text) == topic


@pytest.mark.parametrize(
    ("payload", "state"),
    [
        pytest.param(b"online", "online", id="a word"),
        pytest.param(b' {"status":"Offline","at":1}', "offline", id="an object"),
        pytest.param(b'"online"', "online", id="a JSON text"),
        pytest.param(b"", "cleared", id="nothing is said any more"),
        pytest.param(b'{"status":', None, id="cut off"),
        pytest.param(b"\xff", None, id="no text"),
        pytest.param(b"[]", None, id="a list"),
    ],
)
def test_statuses(payload: bytes, state: str | None) -> None:
    assert presence.read_state(payload) == state


VENDOR = Vendor(name="v", secret="s")
BODY, NOW_S = b"userid=1", 1_795_000_000
GOOD = signature.sign("s", str(NOW_S), BODY)


@pytest.mark.parametrize(
    ("vendor", "given", "at", "expected"),
    [
        pytest.param(VENDOR, GOOD.hex(), str(NOW_S), "", id="hexadecimal"),
        pytest.param(VENDOR, "sha256=" + GOOD.hex().upper(), str(NOW_S), "", id="in capitals, with its name before"),
        pytest.param(VENDOR, base64.b64encode(GOOD).decode(), str(NOW_S), "", id="base64"),
        pytest.param(VENDOR, GOOD.hex()[:-1], str(NOW_S), "wrong", id="cut off"),
        pytest.param(VENDOR, GOOD.hex(), str(NOW_S + 1), "wrong", id="over another time"),
        pytest.param(VENDOR, "é", str(NOW_S), "wrong", id="no signature at all"),
        pytest.param(VENDOR, "", str(NOW_S), "missing", id="none"),
        pytest.param(VENDOR, GOOD.hex(), "", "missing", id="no time"),
        pytest.param(VENDOR, GOOD.hex(), "-1", "missing", id="a time that is none"),
        pytest.param(
            VENDOR, signature.sign("s", str(NOW_S - 301), BODY).hex(), str(NOW_S - 301), "stale", id="five minutes old"
        ),
        pytest.param(
            VENDOR, signature.sign("s", str(NOW_S + 301), BODY).hex(), str(NOW_S + 301), "stale", id="of the future"
        ),
        pytest.param(
            Vendor(name="v", secret="s", timestamp_header=""),
            signature.sign("s", "", BODY).hex(),
            "",
            "",
            id="a vendor without times",
        ),
    ],
)
def test_signatures(vendor: Vendor, given: str, at: str, expected: str) -> None:
    headers = {"X-Webhook-Signature": given, "X-Webhook-Timestamp": at}
    assert signature.fault(vendor, headers, BODY, key="", now_s=NOW_S) == expected


@pytest.mark.parametrize(
    ("vendor", "key", "expected"),
    [
        pytest.param(Vendor(name="v", url_key="k"), "k", "", id="the key"),
        pytest.param(Vendor(name="v", url_key="k"), "j", "wrong", id="another"),
        pytest.param(Vendor(name="v", url_key="k"), "", "missing", id="none"),
        pytest.param(VENDOR, "k", "wrong", id="of a vendor that has none: no way round the signature"),
    ],
)
def test_keys_in_addresses(vendor: Vendor, key: str, expected: str) -> None:
    assert signature.fault(vendor, {}, BODY, key=key, now_s=NOW_S) == expected


def test_a_vendors_file_gives_vendors_with_their_secrets(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s\n")
    file = tmp_path / "webhooks.toml"
    file.write_text(f'[v]\nsecret_file = "{tmp_path / "secret"}"\npoll_s = 60\n')
    assert read_vendors(str(file)) == {"v": Vendor(name="v", secret="s", poll_s=60)}
    assert read_vendors("") == {}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[v", id="no TOML"),
        pytest.param("v = 1", id="no table"),
        pytest.param("[v]", id="no secret"),
        pytest.param('[v]\nsecret = "s"\nsecrets = "t"', id="a key that is not known"),
        pytest.param('[v]\nsecret = "s"\npoll_s = "often"', id="a number that is a text"),
        pytest.param('[v]\nsecret = "s"\napi = "ftp://x"', id="an address of another kind"),
        pytest.param('[v]\nsecret_file = "/nowhere/at/all"', id="a file that is not there"),
        pytest.param('["V V"]\nsecret = "s"', id="a name that no address can hold"),
    ],
)
def test_a_vendors_file_that_cannot_work_fails_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "webhooks.toml"
    file.write_text(text)
    with pytest.raises(Unavailable):
        read_vendors(str(file))


def test_tokens_are_opened_by_the_vendors_secret_for_their_user_only() -> None:
    tokens = Tokens("access", "refresh", 7)
    sealed = account.seal(VENDOR, "u-1", tokens)
    assert "access" not in sealed
    assert account.unseal(VENDOR, Account("v", "u-1", "linked", sealed)) == tokens
    for vendor, user in ((Vendor(name="v", secret="t"), "u-1"), (VENDOR, "u-2")):
        with pytest.raises(Unavailable):
            account.unseal(vendor, Account("v", user, "linked", sealed))


def values(*measures: dict[str, Any], **odd: Any) -> list[tuple[Any, object]]:
    group = {"grpid": 1, "attrib": 0, "date": 1_795_000_000, "category": 1, "measures": list(measures), **odd}
    return [(r.raw.get("value"), r.reading) for r in read_groups({"measuregrps": [group]}, vendor="v").readings]


@pytest.mark.parametrize(
    ("value", "exponent", "expected"),
    [
        pytest.param(72345, -3, "72.345", id="a fraction"),
        pytest.param(7230, -2, "72.30", id="every digit is kept"),
        pytest.param(12, 1, "120", id="a power above zero"),
        pytest.param(0, -3, "0.000", id="nothing"),
        pytest.param(-5, 0, "-5", id="below zero"),
        pytest.param(7, 40, "unreadable", id="beyond any measure"),
        pytest.param("7", 0, "unreadable", id="a text"),
        pytest.param(True, 0, "unreadable", id="a boolean"),
        pytest.param(Decimal("7.5"), 0, "unreadable", id="no whole number"),
    ],
)
def test_a_value_is_times_a_power_of_ten(value: Any, exponent: int, expected: str) -> None:
    ((made, _),) = values({"type": 1, "value": value, "unit": exponent})
    assert made == expected


@pytest.mark.parametrize(
    ("type", "loinc", "mdc"),
    [
        pytest.param(1, "29463-7", "", id="weight"),
        pytest.param(5, "", "188756", id="fat-free mass, which has an MDC code alone"),
        pytest.param(76, "", "188776", id="muscle mass"),
        pytest.param(77, "", "188764", id="body water"),
    ],
)
def test_what_a_body_scale_measures_is_taken(type: int, loinc: str, mdc: str) -> None:
    ((_, reading),) = values({"type": type, "value": 5512, "unit": -2})
    assert isinstance(reading, Reading)
    measured = assess(reading)
    assert isinstance(measured, Measured)
    assert ("".join(measured.loinc), measured.mdc, str(measured.parts[0].value)) == (loinc, mdc, "55.12")


def test_the_mass_of_bone_has_no_code_here_and_is_kept_aside() -> None:
    assert values({"type": 88, "value": 30, "unit": -1}) == [(None, reason.CODE_UNKNOWN)]


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        pytest.param({"attrib": 1}, reason.USER_AMBIGUOUS, id="may be another's"),
        pytest.param({"attrib": 99}, reason.USER_AMBIGUOUS, id="attributed in a way not known here"),
        pytest.param({"attrib": None}, reason.USER_AMBIGUOUS, id="not attributed"),
        pytest.param({"attrib": 4}, reason.NOT_MEASURED, id="typed when the account was made"),
        pytest.param({"category": 3}, reason.MALFORMED, id="another category"),
        pytest.param({"grpid": "1"}, reason.MALFORMED, id="no group id"),
        pytest.param({"date": 10**12}, reason.MALFORMED, id="a date out of range"),
        pytest.param({"measures": 1}, reason.MALFORMED, id="no measures"),
    ],
)
def test_groups_that_are_kept_aside(odd: dict[str, Any], why: object) -> None:
    assert [reading for _, reading in values({"type": 1, "value": 70, "unit": 0}, **odd)] == [why]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        pytest.param(200, b'{"status":401}', Refused, id="401 inside of 200"),
        pytest.param(401, b"", Refused, id="401"),
        pytest.param(200, b'{"status":601}', Unavailable, id="too many requests"),
        pytest.param(200, b"<html>", Unavailable, id="a page"),
        pytest.param(200, b"[]", Unavailable, id="a list"),
        pytest.param(302, b"", Unavailable, id="elsewhere"),
    ],
)
def test_answers_that_are_asked_for_again(status: int, body: bytes, error: type[FhirError]) -> None:
    with pytest.raises(error):
        answer_of(status, body)


@pytest.mark.parametrize("body", [b"", b"userid=", b"\xff", b"userid=1&startdate=soon", b"a=1&" * 60])
def test_notifications_that_name_nobody_or_no_time_are_refused(body: bytes) -> None:
    with pytest.raises(FhirError):
        read_notification(body)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("mqtt://broker.example", ("broker.example", 1883), id="plain"),
        pytest.param("mqtts://broker.example", ("broker.example", 8883), id="TLS"),
        pytest.param("mqtts://[::1]:18883", ("::1", 18883), id="a port, and IPv6"),
    ],
)
def test_addresses_of_brokers(url: str, address: tuple[str, int]) -> None:
    assert Settings.read({"PREDMP_MQTT": url}).mqtt == url
    assert Broker(url, "c").address == address


@pytest.mark.parametrize(
    "url", ["broker", "http://x", "mqtt://", "mqtt://user:secret@x", "mqtt://x/topic", "mqtt://x:0"]
)
def test_what_is_no_address_of_a_broker_fails_the_start(url: str) -> None:
    with pytest.raises(SettingsError):
        Settings.read({"PREDMP_MQTT": url})


@pytest.mark.parametrize("name", ["a/b", "+", "#", "$share", "a b"])
def test_what_is_no_name_of_a_group_fails_the_start(name: str) -> None:
    with pytest.raises(SettingsError):
        Settings.read({"PREDMP_MQTT_SHARE": name})


def test_files_that_cannot_be_used_fail_the_start_and_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("secret words")
    for broker in (
        Broker("mqtts://x", "c", tls_ca=str(tmp_path / "no.pem")),
        Broker("mqtt://x", "c", user="u", password_file=str(tmp_path / "none")),
    ):
        with pytest.raises(Unavailable) as caught:
            broker.check()
        assert "secret" not in caught.value.text
