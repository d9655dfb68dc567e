"""Acceptance points of device feeds over real sockets: MQTT and vendors' webhooks."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mosquitto import Gateway, Mosquitto
from tests.running import RunningHub
from tests.telemetry import Bedside, eventually, kept_aside, metric
from tests.withings_service import DATE, SECRET, Vendor, WithingsService, group, service, vendor

__all__ = ["service", "vendor"]

COUNT = 40


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as running:
        yield running


@pytest.fixture
def fed(broker: Mosquitto) -> Iterator[RunningHub]:
    """A hub of this test alone, fed by the broker."""
    with RunningHub(env={"PREDMP_MQTT": broker.url}) as running:
        eventually(lambda: metric(running, 'predmp_mqtt_connected{session="readings"}'))
        yield running


POINT_47 = "point 47: MQTT kill -9 before PUBACK"


@pytest.mark.parametrize("_", [pytest.param(None, id=f"{POINT_47}: redelivered, once stored")])
def test_what_was_not_stored_when_the_hub_was_killed_comes_again(broker: Mosquitto, fed: RunningHub, _: None) -> None:
    bed = Bedside(fed)
    lock = sqlite3.connect(fed.folder / "hub.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")  # no commit of the hub comes through: nothing may be acknowledged
    try:
        with Gateway(broker) as gateway:
            for number in range(COUNT):
                gateway.publish(f"dev/default/gw-1/{bed.value}/obs", bed.message(number))
        eventually(lambda: metric(fed, 'predmp_mqtt_events_total{session="readings",event="received"}') == COUNT)
        assert metric(fed, 'predmp_mqtt_events_total{session="readings",event="acknowledged"}') == 0
        fed.stop(signal.SIGKILL)
    finally:
        lock.close()
    fed.start()
    eventually(lambda: bed.count() == COUNT)
    assert metric(fed, 'predmp_mqtt_events_total{session="readings",event="copies"}') == COUNT
    assert len({resource["identifier"][0]["value"] for resource in bed.stored()}) == COUNT
    assert kept_aside(fed) == []


@pytest.mark.parametrize("_", [pytest.param(None, id=f"{POINT_47}, in the middle of a burst: once stored")])
def test_a_burst_cut_by_a_kill_is_stored_once(broker: Mosquitto, fed: RunningHub, _: None) -> None:
    bed = Bedside(fed)
    count = 5 * COUNT
    with Gateway(broker) as gateway:
        for number in range(count):
            gateway.client.publish(f"dev/default/gw-1/{bed.value}/obs", bed.message(number), qos=1)
        eventually(bed.count)
        fed.stop(signal.SIGKILL)
        fed.start()
        eventually(lambda: bed.count() >= count)
    eventually(lambda: not metric(fed, 'predmp_mqtt_under_way{session="readings"}'))
    assert bed.count() == count
    assert kept_aside(fed) == []


@pytest.fixture(scope="module")
def called(service: WithingsService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that the vendor calls."""
    file = tmp_path_factory.mktemp("vendors") / "webhooks.toml"
    secret = Path(file.parent / "secret")
    secret.write_text(SECRET + "\n")
    file.write_text(
        f'[withings]\nsecret_file = "{secret}"\napi = "{service.url}"\nclient_id = "c"\nclient_secret = "s"\n'
    )
    with RunningHub(env={"PREDMP_WEBHOOKS": str(file)}) as running:
        yield running


def notifications(hub: RunningHub, outcome: str) -> float:
    return metric(hub, f'predmp_webhook_notifications_total{{vendor="withings",outcome="{outcome}"}}')


POINT_48 = "point 48: webhook with bad signature"


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        pytest.param({"secret": "another"}, "refused-wrong", id=f"{POINT_48}: of another secret"),
        pytest.param({"tamper": b"&appli=4"}, "refused-wrong", id=f"{POINT_48}: over another body"),
        pytest.param({"at": 1_600_000_000}, "refused-stale", id=f"{POINT_48}: of a time long past"),
    ],
)
def test_a_notification_that_is_not_the_vendors_is_401_stored_nowhere_and_counted(
    vendor: Vendor, change: dict[str, object], outcome: str
) -> None:
    vendor.link()
    vendor.service.groups[vendor.user] = [group(1, DATE, (1, 72345, -3))]
    before = notifications(vendor.hub, outcome), notifications(vendor.hub, "stored")
    answer = vendor.notify(**change)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["resourceType"]) == (401, "OperationOutcome")
    assert (notifications(vendor.hub, outcome), notifications(vendor.hub, "stored")) == (before[0] + 1, before[1])
    assert [form for form in vendor.service.asked if form.get("startdate") == str(DATE - 60)] == []
    with sqlite3.connect(vendor.hub.folder / "hub.db") as database:
        rows = database.execute("SELECT count(*) FROM record WHERE kind = 'device-webhook'").fetchone()
    database.close()
    assert rows == (0,)


POINT_49 = "point 49: webhook burst with vendor API down"


@pytest.mark.parametrize("_", [pytest.param(None, id=f"{POINT_49}: nothing lost, stored once it is up")])
def test_a_burst_while_the_vendor_is_down_is_answered_and_stored_when_it_is_up(vendor: Vendor, _: None) -> None:
    vendor.link()
    count = 30
    vendor.service.groups[vendor.user] = [group(100 + n, DATE + 60 * n, (1, 72000 + n, -3)) for n in range(count)]
    vendor.service.is_down = True
    answers = [vendor.notify(startdate=DATE + 60 * n, enddate=DATE + 60 * n + 1) for n in range(count)]
    assert {answer.status_code for answer in answers} == {200}
    failed = 'predmp_webhook_pulls_total{vendor="withings",outcome="failed"}'
    eventually(lambda: metric(vendor.hub, failed) >= 1)
    assert vendor.bed.count() == 0
    vendor.hub.stop(signal.SIGKILL)  # what was answered 200 outlives the process too
    vendor.service.is_down = False
    vendor.hub.start()
    eventually(lambda: vendor.bed.count() == count)
    values = sorted(resource["valueQuantity"]["value"] for resource in vendor.bed.stored())
    assert values == [72 + n / 1000 for n in range(count)]
    eventually(lambda: not metric(vendor.hub, "predmp_webhook_pending"))
