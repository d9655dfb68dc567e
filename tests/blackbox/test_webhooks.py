"""Vendors' webhooks end to end: a real vendor's service, a real hub, what is filed and what is not."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.running import RunningHub
from tests.telemetry import eventually, kept_aside, metric
from tests.withings_service import DATE, SECRET, Vendor, WithingsService, group, service, vendor

__all__ = ["service", "vendor"]


@pytest.fixture(scope="module")
def called(service: WithingsService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with three vendors: one that signs, one that is polled each second, one that knows a key."""
    file = tmp_path_factory.mktemp("vendors") / "webhooks.toml"
    signs = f'secret = "{SECRET}"\napi = "{service.url}"\nclient_id = "c"\nclient_secret = "s"\n'
    file.write_text(
        f"[withings]\n{signs}[polled]\n{signs}poll_s = 1\n[keyed]\nurl_key = 'k-1'\napi = '{service.url}'\npoll_s = 0\n"
    )
    with RunningHub(env={"PREDMP_WEBHOOKS": str(file)}) as running:
        yield running


def outcomes(vendor: Vendor, outcome: str) -> float:
    return metric(vendor.hub, f'predmp_webhook_notifications_total{{vendor="{vendor.name}",outcome="{outcome}"}}')


def pulled(vendor: Vendor, outcome: str = "pulled") -> float:
    return metric(vendor.hub, f'predmp_webhook_pulls_total{{vendor="{vendor.name}",outcome="{outcome}"}}')


def test_a_notification_brings_the_measurements_with_their_digits(vendor: Vendor) -> None:
    vendor.link()
    vendor.service.groups[vendor.user] = [
        group(1, DATE, (1, 7230, -2), (6, 214, -1)),
        group(2, DATE + 5, (10, 128, 0), (9, 79, 0), (11, 66, 0)),
    ]
    assert vendor.notify().status_code == 200
    stored = eventually(lambda: vendor.bed.stored() if vendor.bed.count() == 4 else None)
    by_code = {each["code"]["coding"][0]["code"]: each for each in stored}
    assert by_code.keys() == {"29463-7", "41982-0", "85354-9", "8867-4"}
    assert [part["valueQuantity"]["value"] for part in by_code["85354-9"]["component"]] == [128, 79]
    assert '"value":72.30' in vendor.hub.request("GET", f"/fhir/Observation/{by_code['29463-7']['id']}").text
    assert by_code["29463-7"]["effectiveDateTime"] == "2026-11-18T11:06:40Z"


def test_a_notification_sent_again_and_a_group_got_again_are_known(vendor: Vendor) -> None:
    vendor.link()
    vendor.service.groups[vendor.user] = [group(1, DATE, (1, 70, 0))]
    known, before = outcomes(vendor, "known"), pulled(vendor)
    first = vendor.notify()
    again = vendor.notify(at=int(first.request.headers["X-Webhook-Timestamp"]))
    assert (first.status_code, again.status_code, outcomes(vendor, "known")) == (200, 200, known + 1)
    eventually(vendor.bed.count)
    vendor.notify(enddate=DATE + 61)
    eventually(lambda: pulled(vendor) >= before + 2)
    assert vendor.bed.count() == 1


@pytest.mark.parametrize(("appli", "more"), [("4", 0), ("44", 1), ("54", 1)])
def test_a_notification_of_what_is_not_asked_for_is_counted(vendor: Vendor, appli: str, more: int) -> None:
    before = outcomes(vendor, "other-kind")
    assert vendor.notify(appli=appli).status_code == 200
    assert outcomes(vendor, "other-kind") == before + more


def test_goals_are_never_filed_and_what_may_be_anothers_is_kept_aside(vendor: Vendor) -> None:
    vendor.link()
    goals = pulled(vendor, "goals")
    vendor.service.groups[vendor.user] = [
        group(1, DATE, (1, 65, 0), category=2),
        group(2, DATE, (1, 66, 0), attrib=1),
        group(3, DATE, (1, 67, 0), attrib=4),
        group(4, DATE, (88, 3, 0)),
        group(5, DATE, (1, 68, 0), attrib=2),
    ]
    before = len(kept_aside(vendor.hub))
    vendor.notify()
    eventually(vendor.bed.count)
    eventually(lambda: len(kept_aside(vendor.hub)) == before + 3)
    assert [each["valueQuantity"]["value"] for each in vendor.bed.stored()] == [68]
    reasons = sorted(row["reason"] for row in kept_aside(vendor.hub)[before:])
    assert reasons == ["code-unknown", "not-measured", "user-ambiguous"]
    assert pulled(vendor, "goals") == goals + 1


def test_all_pages_are_asked_for(vendor: Vendor) -> None:
    vendor.link()
    vendor.service.page = 2
    try:
        vendor.service.groups[vendor.user] = [group(n, DATE + n, (1, 70 + n, 0)) for n in range(1, 6)]
        vendor.notify()
        eventually(lambda: vendor.bed.count() == 5)
    finally:
        vendor.service.page = 1_000


def test_a_token_that_holds_no_more_is_renewed_and_the_new_one_kept(vendor: Vendor) -> None:
    vendor.service.tokens["fresh"] = vendor.user
    vendor.service.refreshes["r-1"] = ("fresh", "r-2")
    vendor.link("stale", refresh_token="r-1")
    vendor.service.groups[vendor.user] = [group(1, DATE, (1, 70, 0)), group(2, DATE + 600, (1, 71, 0))]
    vendor.notify()
    eventually(lambda: vendor.bed.count() == 1)
    vendor.notify(startdate=DATE + 600, enddate=DATE + 600)
    eventually(lambda: vendor.bed.count() == 2)
    assert "r-1" not in vendor.service.refreshes


def test_what_comes_before_an_account_is_linked_waits_for_it(vendor: Vendor) -> None:
    vendor.service.groups[vendor.user] = [group(1, DATE, (1, 70, 0))]
    assert vendor.notify().status_code == 200
    vendor.link()
    eventually(vendor.bed.count)


@pytest.mark.parametrize("action", ["unlink", "delete"])
def test_after_the_user_ended_the_link_nothing_is_asked_for(vendor: Vendor, action: str) -> None:
    vendor.link()
    assert vendor.notify(action=action, appli=46).status_code == 200
    asked = len(vendor.service.asked)
    vendor.service.groups[vendor.user] = [group(1, DATE, (1, 70, 0))]
    assert vendor.notify(enddate=DATE + 99).status_code == 200
    other = Vendor(vendor.hub, vendor.service)
    other.link()
    other.service.groups[other.user] = [group(1, DATE, (1, 70, 0))]
    other.notify()
    eventually(other.bed.count)
    assert [form for form in vendor.service.asked[asked:] if form.get("enddate") == str(DATE + 99 + 60)] == []
    assert vendor.bed.count() == 0


def test_what_a_vendor_did_not_tell_of_is_found_by_polling(called: RunningHub, service: WithingsService) -> None:
    vendor = Vendor(called, service, "polled")
    vendor.link()
    service.groups[vendor.user] = [group(1, DATE, (1, 70, 0), modified=DATE * 2)]
    eventually(vendor.bed.count)


def test_a_vendor_that_does_not_sign_is_known_by_the_key_in_its_address(
    called: RunningHub, service: WithingsService
) -> None:
    vendor = Vendor(called, service, "keyed")
    vendor.link()
    service.groups[vendor.user] = [group(1, DATE, (1, 70, 0))]
    body = f"userid={vendor.user}&appli=1&startdate={DATE}&enddate={DATE}".encode()
    statuses = [
        called.http.post(f"/devices/webhooks/keyed{key}", content=body).status_code for key in ("", "/k-2", "/k-1")
    ]
    assert statuses == [401, 401, 200]
    eventually(vendor.bed.count)


def test_a_signed_notification_that_names_nobody_is_kept_aside(vendor: Vendor) -> None:
    before = len(kept_aside(vendor.hub))
    assert vendor.notify(userid="").status_code == 200
    assert [row["reason"] for row in kept_aside(vendor.hub)[before:]] == ["payload-malformed"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("HEAD", "/devices/webhooks/withings", 200, id="a vendor asks whether the address is there"),
        pytest.param("GET", "/devices/webhooks/withings", 200, id="by GET too"),
        pytest.param("GET", "/devices/webhooks/nobody", 404, id="of a vendor that is not set it is not"),
        pytest.param("POST", "/devices/webhooks/nobody", 404, id="nor for its notifications"),
        pytest.param("POST", "/devices/accounts", 401, id="accounts are linked by the operator only"),
    ],
)
def test_addresses(called: RunningHub, method: str, path: str, status: int) -> None:
    assert called.http.request(method, path).status_code == status


def test_a_body_beyond_its_bound_is_refused(called: RunningHub) -> None:
    assert called.http.post("/devices/webhooks/withings", content=b"x" * 65_537).status_code == 413


def account_of(vendor: Vendor) -> dict[str, object]:
    listed = vendor.hub.request("GET", "/devices/accounts").json()["accounts"]
    found: dict[str, object] = next(each for each in listed if each["user"] == vendor.user)
    return found


def audited(vendor: Vendor) -> set[tuple[str, str]]:
    """Return what the audit chain says was done with which kind of rows."""
    with closing(sqlite3.connect(vendor.hub.folder / "hub.db")) as store:
        rows = [json.loads(body) for (body,) in store.execute("SELECT body FROM audit")]
    return {(row[1][3], row[1][4]) for row in rows}


def test_the_operator_sees_accounts_without_their_tokens_and_ends_them(vendor: Vendor) -> None:
    vendor.link()
    shown = account_of(vendor)
    assert shown | {"seq": 0, "polled": ""} == {
        **{"seq": 0, "vendor": "withings", "user": vendor.user, "state": "linked", "polled": ""},
        **{"failures": 0, "waiting": 0},
    }
    body = {"vendor": "withings", "user": vendor.user}
    statuses = [
        vendor.hub.request("POST", "/devices/accounts/end", json=each, token=token).status_code
        for each, token in (
            ({**body, "user": "nobody"}, ""),
            ({"user": vendor.user}, ""),
            (body, vendor.hub.token("system/*.r", actor="Practitioner/1")),
            (body, ""),
        )
    ]
    assert (statuses, account_of(vendor)["state"]) == ([404, 400, 403, 204], "ended")
    vendor.notify()
    assert account_of(vendor)["waiting"] == 1
    vendor.hub.request("GET", "/devices/presence")
    eventually(lambda: audited(vendor) >= {("R", "device-account"), ("U", "device-account"), ("R", "device-presence")})


def test_the_operator_sees_of_whom_a_vendor_told_before_anybody_linked_them(vendor: Vendor) -> None:
    def waiting() -> list[int]:
        listed = vendor.hub.request("GET", "/devices/accounts").json()["unlinked"]
        return [each["waiting"] for each in listed if (each["vendor"], each["user"]) == ("withings", vendor.user)]

    before = waiting()
    assert vendor.notify().status_code == 200 and vendor.notify(appli=4).status_code == 200
    told = waiting()
    vendor.link()
    assert (before, told, waiting()) == ([], [2], [])


def test_of_a_person_who_is_erased_no_account_is_left(vendor: Vendor) -> None:
    vendor.link()
    vendor.notify(action="unlink")
    vendor.notify(enddate=DATE + 7)  # waits, with the user's id

    def is_there() -> bool:
        files = [path for path in vendor.hub.folder.iterdir() if path.name.startswith("hub.db")]
        return any(vendor.user.encode() in path.read_bytes() for path in files)

    assert is_there()
    answer = vendor.hub.request("POST", f"/fhir/{vendor.bed.patient}/$erase")
    assert answer.status_code == 200, answer.text
    eventually(lambda: not is_there())


def test_no_id_of_a_user_and_no_secret_stands_in_the_log_or_the_metrics(vendor: Vendor) -> None:
    vendor.link("stale-token-of-a-user")
    vendor.notify()
    eventually(lambda: pulled(vendor, "failed"))
    told = vendor.hub.logged() + vendor.hub.http.get("/metrics").text
    assert [word for word in (vendor.user, SECRET, "stale-token-of-a-user") if word in told] == []
