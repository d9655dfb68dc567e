"""Acceptance points of device feeds over real sockets: MQTT and vendors' webhooks."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator

import pytest

from tests.mosquitto import Gateway, Mosquitto
from tests.running import RunningHub
from tests.telemetry import Bedside, eventually, kept_aside, metric

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
    eventually(lambda: bed.count() == COUNT, within_s=30)
    assert metric(fed, 'predmp_mqtt_events_total{session="readings",event="copies"}') == COUNT
    assert len({resource["identifier"][0]["value"] for resource in bed.stored()}) == COUNT
    assert kept_aside(fed) == []


@pytest.mark.parametrize("_", [pytest.param(None, id=f"{POINT_47}, in the middle of a burst: once stored")])
def test_a_burst_cut_by_a_kill_is_stored_once(broker: Mosquitto, fed: RunningHub, _: None) -> None:
    bed = Bedside(fed)
    count = 10 * COUNT
    with Gateway(broker) as gateway:
        for number in range(count):
            gateway.client.publish(f"dev/default/gw-1/{bed.value}/obs", bed.message(number), qos=1)
        eventually(bed.count)
        fed.stop(signal.SIGKILL)
        fed.start()
        eventually(lambda: bed.count() >= count, within_s=30)
    eventually(lambda: not metric(fed, 'predmp_mqtt_under_way{session="readings"}'))
    assert bed.count() == count
    assert kept_aside(fed) == []
