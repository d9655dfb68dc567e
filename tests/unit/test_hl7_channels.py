"""Which channel a message has, and what a file of channels may say."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapters.hl7.channels import Channel, Peer, Table, read_table, sender_of
from adapters.hl7.tls import peer_names
from fhir_server.errors import Unavailable
from tests.hl7_messages import adt

USUAL = Channel("mllp", "default", ZoneInfo("Europe/Paris"), {})
FILE = """
[default]
charset = "iso8859-15"

[[channel]]
name = "lab"
peers = ["10.1.0.0/16", "fd00::/8"]
senders = ["LAB", "DPI|CHU TEST"]
ack_when = "applied"
zone = "Indian/Reunion"

[[channel]]
name = "ward"
bind = "0.0.0.0:2576"
certificates = ["ward.example"]
sequence = true
"""


def table(tmp_path: Path, text: str) -> Table:
    file = tmp_path / "channels.toml"
    file.write_text(text)
    return read_table(str(file), USUAL)


def chosen(made: Table, bind: str, peer: Peer, raw: str) -> str | None:
    """Return the channel's name; "refused" where the connection is."""
    rows = made.rows(bind, peer)
    if rows is None:
        return "refused"
    found = made.choose(rows, "mllp", raw.encode())
    return found.name if found else None


@pytest.mark.parametrize(
    ("bind", "peer", "raw", "name"),
    [
        pytest.param("", Peer("10.1.2.3"), adt(), "lab", id="address and sender fit"),
        pytest.param("", Peer("::ffff:10.1.2.3"), adt(), "lab", id="IPv4 in the dress of IPv6"),
        pytest.param("", Peer("fd00::1"), adt(), "lab", id="IPv6"),
        pytest.param("", Peer("10.2.2.3"), adt(), "mllp", id="another address"),
        pytest.param("", Peer("10.1.2.3"), adt().replace("DPI", "XXX"), "mllp", id="another sender"),
        pytest.param("", Peer("10.1.2.3"), adt().replace("DPI", "LAB"), "lab", id="an application at any facility"),
        pytest.param("", Peer("10.1.2.3"), "hello", "mllp", id="no message"),
        pytest.param("0.0.0.0:2576", Peer("10.1.2.3"), adt(), "refused", id="a port of its own, no certificate"),
        pytest.param("0.0.0.0:2576", Peer("", frozenset({"ward.example"})), adt(), "ward", id="the right certificate"),
    ],
)
def test_the_channel_of_a_message(bind: str, peer: Peer, raw: str, name: str, tmp_path: Path) -> None:
    assert chosen(table(tmp_path, FILE), bind, peer, raw) == name


def test_what_a_channel_does_not_say_is_as_usual(tmp_path: Path) -> None:
    made = table(tmp_path, FILE)
    lab, ward, other = made.named("lab"), made.named("ward"), made.named("mllp")
    assert (lab.ack_when, lab.zone.key, lab.charset, lab.sequence) == ("applied", "Indian/Reunion", "iso8859-15", False)
    assert (ward.ack_when, ward.zone.key, ward.charset, ward.sequence) == ("stored", "Europe/Paris", "iso8859-15", True)
    assert (other.name, other.ack_when) == ("mllp", "stored")
    assert (made.binds, made.tenants) == (["0.0.0.0:2576"], frozenset({"default"}))


def test_a_port_of_its_own_may_be_without_tls_and_take_longer_messages(tmp_path: Path) -> None:
    made = table(
        tmp_path,
        """
        [[channel]]
        name = "plain"
        bind = "127.0.0.1:2577"
        tls = false
        max_message = 2_000
        [[channel]]
        name = "long"
        bind = "127.0.0.1:2578"
        max_message = 90_000_000
        [[channel]]
        name = "short"
        senders = ["SHORT"]
        max_message = 1_000
        """,
    )
    assert [made.has_tls(bind) for bind in ("", "127.0.0.1:2577", "127.0.0.1:2578")] == [True, False, True]
    assert [made.longest(bind, 5_000) for bind in ("", "127.0.0.1:2577", "127.0.0.1:2578")] == [
        5_000,
        2_000,
        90_000_000,
    ]


def test_without_a_file_there_is_one_channel_for_all() -> None:
    assert chosen(read_table("", USUAL), "", Peer("192.0.2.1"), adt()) == "mllp"


@pytest.mark.parametrize(
    ("peer", "raw", "name"),
    [
        pytest.param(Peer("10.1.2.3"), adt(), "lab", id="who fits is served"),
        pytest.param(Peer("10.1.2.3"), adt().replace("DPI", "XXX"), None, id="another sender is not"),
        pytest.param(Peer("10.2.2.3"), adt(), "refused", id="another address is not connected"),
    ],
)
def test_a_closed_table_takes_only_who_is_named(peer: Peer, raw: str, name: str | None, tmp_path: Path) -> None:
    closed = FILE.replace("[default]", "[default]\nopen = false")
    assert chosen(table(tmp_path, closed), "", peer, raw) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[[channel", "cannot be read", id="no TOML"),
        pytest.param("[[chanel]]\nname = 'x'", "there is no table chanel", id="an unknown table"),
        pytest.param("[[channel]]\nnmae = 'x'", "there is no key nmae", id="an unknown key"),
        pytest.param("[default]\nbind = '0.0.0.0:1'", "there is no key bind", id="a key in the wrong place"),
        pytest.param("[[channel]]\ncharset = 'x'", "charset is malformed", id="an unknown codec"),
        pytest.param("[[channel]]\nname = 'x'\nack_when = 'soon'", "ack_when is malformed", id="no choice"),
        pytest.param("[[channel]]\nname = 'x'\ntest = 'yes'", "test is malformed", id="a text for a flag"),
        pytest.param("[[channel]]\nname = 'x'\nzone = 'Mars'", "zone is malformed", id="no zone"),
        pytest.param("[[channel]]\nname = 'x'\nbind = '2575'", "bind is malformed", id="no address"),
        pytest.param("[[channel]]\nname = 'x'\npeers = '10.1.2.3/8'", "peers is malformed", id="no network"),
        pytest.param("[[channel]]\ntest = true", "a name of its own", id="no name"),
        pytest.param("[[channel]]\nname = 'x'\n[[channel]]\nname = 'x'", "a name of its own", id="a name twice"),
        pytest.param("[[channel]]\nname = 'x'\ntls = false", "a bind of its own", id="TLS of the common port"),
        pytest.param("[[channel]]\nname = 'x'\nmax_message = 0", "max_message is malformed", id="no size"),
        pytest.param("channel = 1", "is no table", id="a number for a table"),
    ],
)
def test_a_file_that_is_not_understood_says_where(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        table(tmp_path, text)
    assert said in caught.value.text


def test_a_file_that_is_not_there_fails() -> None:
    with pytest.raises(Unavailable):
        read_table("/nowhere/channels.toml", USUAL)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        pytest.param(b"MSH|^~\\&|A^1.2^ISO|B|C", ("A", "B"), id="first components"),
        pytest.param(b"MSH!*%\\@!A*x!B!C", ("A", "B"), id="other delimiters"),
        pytest.param(b"BHS|^~\\&|A|B|C", ("A", "B"), id="a batch"),
        pytest.param(b"MSH|^~\\&|A", ("A", ""), id="a short header"),
        pytest.param(b"PID|1||x", ("", ""), id="no header"),
    ],
)
def test_the_sender_is_read_from_the_bytes(raw: bytes, found: tuple[str, str]) -> None:
    assert sender_of(raw) == found


def test_the_names_of_a_certificate() -> None:
    found = {
        "subject": ((("countryName", "FR"),), (("commonName", "lab.example"),)),
        "subjectAltName": (("DNS", "lab1.example"), ("IP Address", "10.1.2.3")),
    }
    assert peer_names(found) == {"lab.example", "lab1.example", "10.1.2.3"}
    assert peer_names(None) == frozenset()
