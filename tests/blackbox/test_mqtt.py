"""Device feeds over MQTT 5, with a real Mosquitto: stored then acknowledged, kept aside, in order, over TLS."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.mosquitto import Gateway, Mosquitto
from tests.running import RunningHub
from tests.telemetry import AT, Bedside, eventually, kept_aside, metric


@pytest.fixture(scope="module")
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as running:
        yield running


@pytest.fixture(scope="module")
def fed(broker: Mosquitto) -> Iterator[RunningHub]:
    """A hub that is fed by the broker, which held a status before."""
    with Gateway(broker) as gateway:
        gateway.publish("dev/default/gw-0/D-0/status", b"offline", retain=True)
    with RunningHub(env={"PREDMP_MQTT": broker.url}) as running:
        eventually(lambda: metric(running, 'predmp_mqtt_connected{session="readings"}'))
        yield running


PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "device-transports.md"


def settled(hub: RunningHub, kind: str = "obs") -> float:
    """Return how many publications of a kind of topic were dealt with."""
    lines = hub.http.get("/metrics").text.splitlines()
    mine = [line for line in lines if line.startswith(f'predmp_mqtt_publications_total{{kind="{kind}"')]
    return sum(float(line.rpartition(" ")[2]) for line in mine)


def test_a_reading_becomes_an_observation_of_the_devices_patient(broker: Mosquitto, fed: RunningHub) -> None:
    bed = Bedside(fed)
    with Gateway(broker) as gateway:
        gateway.publish(f"dev/default/gw-1/{bed.value}/obs", bed.message(1, value="72.0"), "application/json")
        eventually(bed.count)
        gateway.publish(f"dev/default/gw-2/{bed.value}/obs", bed.message(1, value="72.0"))
        eventually(lambda: metric(fed, 'predmp_mqtt_publications_total{kind="obs",outcome="duplicate"}'))
    (stored,) = bed.stored()
    assert stored["device"] == {"reference": bed.device} and stored["effectiveDateTime"] == AT
    assert '"value":72.0' in fed.request("GET", f"/fhir/Observation/{stored['id']}").text


def test_a_fall_on_the_events_topic_is_on_the_worklist(broker: Mosquitto, fed: RunningHub) -> None:
    bed = Bedside(fed)
    fall = {"system": "mdc", "code": "8519681", "at": AT}
    message = {"device": {"system": bed.system, "value": bed.value}, "readings": [fall]}
    with Gateway(broker) as gateway:
        gateway.publish(f"dev/default/gw-1/{bed.value}/evt", json.dumps(message).encode())
        eventually(bed.count)
    (entry,) = fed.search(f"Task?patient={bed.patient}&status=requested")["entry"]
    assert "fall" in [coding["code"] for coding in entry["resource"]["code"]["coding"]]


def test_a_wave_is_stored_as_samples(broker: Mosquitto, fed: RunningHub) -> None:
    bed = Bedside(fed)
    samples = {"unit": "mV", "period": 4, "data": [n % 7 for n in range(500)]}
    wave = {"system": "mdc", "code": "131329", "at": AT, "samples": samples}
    message = {"device": {"system": bed.system, "value": bed.value}, "readings": [wave]}
    with Gateway(broker) as gateway:
        gateway.publish(f"dev/default/gw-1/{bed.value}/wave", json.dumps(message).encode())
        eventually(bed.count)
    assert len(bed.stored()[0]["valueSampledData"]["data"].split()) == 500


@pytest.mark.parametrize(
    ("media_type", "payload"),
    [
        pytest.param(
            "application/senml+json",
            [{"bn": "urn:dev:mac:{}:", "bt": 1_795_000_000, "n": "8867-4", "u": "beat/min", "v": 72}],
            id="SenML",
        ),
        pytest.param(
            "application/fhir+json",
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "149530"}]},
                "device": {"identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:dev:mac:{}"}},
                "effectiveDateTime": AT,
                "valueQuantity": {"value": 72, "code": "/min", "system": "http://unitsofmeasure.org"},
            },
            id="a FHIR Observation",
        ),
    ],
)
def test_formats_are_told_by_the_content_type(
    broker: Mosquitto, fed: RunningHub, media_type: str, payload: Any
) -> None:
    name = f"{id(payload):016x}"
    bed = Bedside(fed, system="urn:ietf:rfc:3986", value=f"urn:dev:mac:{name}")
    with Gateway(broker) as gateway:
        text = json.dumps(payload).replace("urn:dev:mac:{}", bed.value)
        gateway.publish(f"dev/default/gw-1/{bed.value}/obs", text.encode(), media_type)
        eventually(bed.count)
    assert bed.stored()[0]["valueQuantity"]["value"] == 72


def test_open_mhealth_is_the_reading_of_the_account_that_the_topic_names(broker: Mosquitto, fed: RunningHub) -> None:
    bed = Bedside(fed, system="urn:predmp:devices:account:openmhealth")
    point = {
        "header": {
            "id": "p-1",
            "user_id": bed.value,
            "schema_id": {"namespace": "omh", "name": "body-weight", "version": "2.0"},
        },
        "body": {"body_weight": {"value": 71.40, "unit": "kg"}, "effective_time_frame": {"date_time": AT}},
    }
    with Gateway(broker) as gateway:
        gateway.publish(
            f"dev/default/gw-1/{bed.value}/obs", json.dumps(point).encode(), "application/vnd.openmhealth+json"
        )
        eventually(bed.count)
    assert bed.stored()[0]["valueQuantity"]["code"] == "kg"


PULSE = (
    b'{"device":{"system":"urn:example:device","value":"M-1"},"readings":[{"code":"8867-4","value":71,"unit":"/min"}]}'
)


@pytest.mark.parametrize(
    ("topic", "payload", "media_type", "reason"),
    [
        pytest.param("dev/default/gw/M-1/obs", b'{"device', "", "payload-malformed", id="cut off"),
        pytest.param("dev/default/gw/M-1/obs", b"\xff\x00\xfe", "", "payload-malformed", id="no text"),
        pytest.param(
            "dev/default/gw/M-1/wave", b"[]", "application/senml+json", "payload-malformed", id="an empty pack"
        ),
        pytest.param("dev/default/gw/M-2/obs", PULSE, "", "identity-mismatch", id="another device than the topic's"),
        pytest.param(
            "dev/default/gw/M-1/obs", b"MSH|^~\\&|", "x-application/hl7-v2+er7", "format-unknown", id="HL7 v2"
        ),
        pytest.param("dev/elsewhere/gw/M-1/obs", PULSE, "", "topic-unknown", id="a tenant that is not here"),
        pytest.param("dev/default/gw/M-1/obs", b" " * 262_145, "", "payload-too-large", id="more than 256 KiB"),
        pytest.param("dev/default/gw/M-1/status", b"perhaps", "", "payload-malformed", id="a status that says nothing"),
    ],
)
def test_what_cannot_be_read_is_kept_aside_and_acknowledged(
    broker: Mosquitto, fed: RunningHub, topic: str, payload: bytes, media_type: str, reason: str
) -> None:
    before = len(kept_aside(fed))
    with Gateway(broker) as gateway:
        gateway.publish(topic, payload, media_type)
        (row,) = eventually(lambda: kept_aside(fed)[before:])
    assert row["reason"] == reason
    eventually(lambda: not metric(fed, 'predmp_mqtt_under_way{session="readings"}'))
    received = 'predmp_mqtt_events_total{session="%s",event="%s"}'
    for session in ("readings", "events"):
        names = [received % (session, event) for event in ("received", "acknowledged")]
        eventually(lambda names=names: len({metric(fed, name) for name in names}) == 1)  # type: ignore[misc]


def statuses(hub: RunningHub, state: str) -> float:
    return metric(hub, f'predmp_mqtt_publications_total{{kind="status",outcome="{state}"}}')


def test_a_last_will_says_when_a_device_is_gone(broker: Mosquitto, fed: RunningHub) -> None:
    topic = "dev/default/gw-9/D-9/status"
    before = statuses(fed, "online"), statuses(fed, "offline")
    with Gateway(broker, "gw-9", will=(topic, b'{"status":"offline"}')) as gateway:
        gateway.publish(topic, b"online", retain=True)
        eventually(lambda: statuses(fed, "online") > before[0])
        gateway.die()
        eventually(lambda: statuses(fed, "offline") > before[1])


def test_a_retained_status_of_before_is_known_to_a_hub_that_starts(fed: RunningHub) -> None:
    eventually(lambda: statuses(fed, "offline"))


def test_of_a_device_that_somebody_waits_for_going_offline_is_a_signal(broker: Mosquitto, fed: RunningHub) -> None:
    bed = Bedside(fed)
    repeat = {"boundsPeriod": {"start": "2026-01-01"}, "frequency": 1, "period": 1, "periodUnit": "d"}
    fed.create(
        {
            "resourceType": "DeviceUseStatement",
            "status": "active",
            "subject": {"reference": bed.patient},
            "device": {"reference": bed.device},
            "timingTiming": {"repeat": repeat},
        }
    )
    query = f"DetectedIssue?patient={bed.patient}&code=device-silent"
    with Gateway(broker) as gateway:
        for state in (b"online", b"offline", b"online", b"offline"):
            before = statuses(fed, state.decode())
            gateway.publish(f"dev/default/gw-1/{bed.value}/status", state, retain=True)
            eventually(lambda: statuses(fed, state.decode()) > before)  # noqa: B023 - it is asked at once
    listed = fed.request("GET", "/devices/presence").json()["presence"]
    assert [row["status"] for row in listed if row["device"] == bed.value] == ["offline"]
    (entry,) = fed.search(query)["entry"]
    assert entry["resource"]["author"] == {"reference": bed.device}
    assert "hors ligne" in entry["resource"]["detail"]


def test_readings_of_a_device_are_stored_in_the_order_they_came(broker: Mosquitto, fed: RunningHub) -> None:
    beds = [Bedside(fed) for _ in range(3)]
    with Gateway(broker) as gateway:
        for number in range(60):
            bed = beds[number % 3]
            gateway.publish(
                f"dev/default/gw-1/{bed.value}/obs", bed.message(number, at=f"2026-11-20T08:00:{number:02}Z")
            )
        eventually(lambda: sum(bed.count() for bed in beds) == 60)
    for bed in beds:
        times = [resource["effectiveDateTime"] for resource in bed.stored()]
        assert times == sorted(times)


def test_an_event_does_not_wait_behind_readings(broker: Mosquitto, fed: RunningHub) -> None:
    slow, fast = Bedside(fed), Bedside(fed)
    many = json.loads(slow.message(0))
    count = 600
    with Gateway(broker) as gateway:
        for start in range(0, count, 100):  # nobody waits for the broker in between: all is there at once
            many["readings"] = [json.loads(slow.message(n))["readings"][0] for n in range(start, start + 100)]
            gateway.client.publish(f"dev/default/gw-1/{slow.value}/obs", json.dumps(many).encode(), qos=1)
        gateway.publish(f"dev/default/gw-1/{fast.value}/evt", fast.message(1))
        eventually(lambda: fast.count() and slow.count() == count)
    (event,), readings = fast.stored(), slow.stored()
    assert event["meta"]["lastUpdated"] < readings[-1]["meta"]["lastUpdated"]


def test_nothing_of_a_payload_or_topic_stands_in_the_log_or_the_metrics(broker: Mosquitto, fed: RunningHub) -> None:
    bed = Bedside(fed, value="ZqMarked")
    before = len(kept_aside(fed))
    payloads = (
        b'{"name":"ZqMarked"',
        bed.message(1, value="ZqMarked"),
        bed.message(2, unit="ZqMarked"),
        bed.message(3),
    )
    with Gateway(broker) as gateway:
        for payload in payloads:
            gateway.publish("dev/default/gw-ZqMarked/ZqMarked/obs", payload)
        gateway.publish("dev/ZqMarked/gw/ZqMarked/obs", bed.message(4), "application/ZqMarked")
        gateway.publish("dev/default/gw-ZqMarked/ZqMarked/status", b"ZqMarked")
        eventually(lambda: len(kept_aside(fed)) == before + 5 and bed.count() == 1)
    assert "ZqMarked" not in fed.logged() + fed.http.get("/metrics").text


class Authority:
    """Makes certificates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca = self._write("ca", self._sign("ca", self._key, is_ca=True), self._key)[0]

    def make(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._write(name, self._sign(name, key), key)

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, *, is_ca: bool = False) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths


def test_over_tls_gateway_and_hub_show_certificates_and_the_gateway_writes_under_its_own_name_only(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    server, hub_files, gateway_files = (authority.make(name) for name in ("server", "hub", "gw-7"))
    written, rules = re.findall(r"^```\n((?:listener|user) .*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
    files = {"cafile": authority.ca, "certfile": server[0], "keyfile": server[1], "acl_file": tmp_path / "acl"}
    files["acl_file"].write_text(rules)
    lines = [line.split(maxsplit=1) for line in written.splitlines()]
    assert {*files} <= {name for name, _ in lines}
    broker = Mosquitto(
        *(f"{name} {files.get(name, value)}" for name, value in lines if name not in ("listener", "persistence"))
    )
    url = f"mqtts://localhost:{broker.port}"
    env = {
        "PREDMP_MQTT": url,
        "PREDMP_MQTT_TLS_CA": str(authority.ca),
        "PREDMP_MQTT_TLS_CERT": str(hub_files[0]),
        "PREDMP_MQTT_TLS_KEY": str(hub_files[1]),
    }
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.load_cert_chain(*map(str, gateway_files))

    with broker, RunningHub(env=env) as hub:
        eventually(lambda: metric(hub, 'predmp_mqtt_connected{session="readings"}'))
        bed = Bedside(hub)
        for place, number in (("gw-8", 8), ("gw-7", 7)):
            with Gateway(broker, "gw-7", setup=lambda client: client.tls_set_context(context)) as gateway:
                payload = bed.message(number)
                gateway.client.publish(f"dev/default/{place}/{bed.value}/obs", payload, qos=0)
        eventually(bed.count)
        assert settled(hub) == 1
