"""The day itself: admissions, results, readings, a decompensation, an alert, a revocation, a validation."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from fhir_server.app import Composed
from fhir_server.demonstration.people import (
    PEOPLE,
    VENDORS,
    Person,
    admission,
    consent,
    pressure,
    reading,
    results,
)
from fhir_server.model import Actor, Scope
from fhir_server.security.scopes import ALL

HOURS = 12  # how long the tokens hold
KITS = "urn:predmp:demo:kit"


class DemoFailed(Exception):
    """The hub did not do what the demonstration shows."""


@dataclass(slots=True)
class Inbox:
    """What the subscriber of the demonstration was sent."""

    got: list[str] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take HTTP requests and answer 200."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lengths = [line[15:] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
                await reader.readexactly(int(lengths[0]) if lengths else 0)
                self.got.append(head.split(" ")[1])
                self.came.set()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()


class Day:
    """Plays on a running hub, over HTTP and MLLP.

    Args:
        composed: The hub, for its addresses and its token key.
        tell: Takes one line of the story: (time of day, text).
    """

    def __init__(self, composed: Composed, tell: Callable[[str, str], None]) -> None:
        self._composed, self._tell = composed, tell
        self._settings = composed.settings
        self.tokens = {"operator": self._token("operator")}
        self._http = httpx.AsyncClient(base_url=self._settings.root_url, timeout=20, trust_env=False)
        self._today = _morning(datetime.now(ZoneInfo(self._settings.zone)))
        self.patients: dict[str, str] = {}
        self._control = 0

    def _token(self, subject: str, scopes: tuple[Scope, ...] = ALL, **bound: str) -> str:
        actor = Actor(self._composed.settings.tenant, subject, scopes, **bound)
        return self._composed.tokens.make(actor, ttl_s=HOURS * 3600, jti=secrets.token_hex(16))

    async def play(self) -> None:
        """Play the whole day; raise DemoFailed where the hub does not do what is shown."""
        inbox = Inbox()
        server = await asyncio.start_server(inbox.serve, "127.0.0.1", 0)
        inbox.port = server.sockets[0].getsockname()[1]
        async with server, self._http:
            await self._prepare(inbox)
            await self._admit()
            await self._equip()
            await self._measure()
            await self._decompensate(inbox)
            await self._revoke()
            await self._validate()

    async def _prepare(self, inbox: Inbox) -> None:
        doctor = await self._create(
            {"resourceType": "Practitioner", "name": [{"family": "Exemple-Martin", "given": ["Luc"]}]}
        )
        self.tokens["doctor"] = self._token("Dr Exemple-Martin", ALL, reference=f"Practitioner/{doctor}")
        self._doctor = doctor
        self._vendors = {name: await self._create({"resourceType": "Organization", "name": name}) for name in VENDORS}
        for name, id in self._vendors.items():
            self.tokens[name] = self._token(name, (Scope("system", "*", "rs"),), reference=f"Organization/{id}")
        await self._create(
            {
                "resourceType": "Subscription",
                "status": "requested",
                "reason": "alerts for the on-call desk",
                "criteria": "Flag?status=active",
                "channel": {
                    "type": "rest-hook",
                    "endpoint": f"http://127.0.0.1:{inbox.port}/alerts",
                    "payload": "application/fhir+json",
                },
            }
        )
        self._say(0, "Dr Exemple-Martin coordinates; two vendors are connected; the desk subscribes to alerts")

    async def _admit(self) -> None:
        reader, writer = await self._mllp()
        for number, person in enumerate(PEOPLE):
            await self._send(reader, writer, admission(person, self._next(), self._when(10 * number)))
            found = await self._get(f"/fhir/Patient?identifier={person.local}")
            self.patients[person.local] = found["entry"][0]["resource"]["id"]
        self._say(50, f"{len(PEOPLE)} admissions (ADT^A01) came by MLLP, each acknowledged AA once it was stored")
        rows = [
            ("718-7", "Hémoglobine", "12.4", "g/dL"),
            ("2823-3", "Potassium", "4.10", "mmol/L"),
            ("30934-4", "BNP", "412", "pg/mL"),
        ]
        for number, person in enumerate(PEOPLE[:3]):
            await self._send(reader, writer, results(person, self._next(), self._when(60 + number), rows))
        writer.close()
        self._say(70, "laboratory results (ORU^R01) became Observations and reports; 4.10 stayed 4.10")

    async def _equip(self) -> None:
        for person in PEOPLE:
            patient = {"reference": f"Patient/{self.patients[person.local]}"}
            await self._create(
                {
                    "resourceType": "CareTeam",
                    "status": "active",
                    "subject": patient,
                    "participant": [{"member": {"reference": f"Practitioner/{self._doctor}"}}],
                }
            )
            await self._create(
                {
                    "resourceType": "Condition",
                    "subject": patient,
                    "code": {"text": person.condition},
                    "clinicalStatus": {
                        "coding": [
                            {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}
                        ]
                    },
                }
            )
            await self._create(
                {
                    "resourceType": "Device",
                    "status": "active",
                    "identifier": [{"system": KITS, "value": person.device}],
                    "patient": patient,
                }
            )
        first = self.patients[PEOPLE[0].local]
        permission = consent(first, self._vendors[VENDORS[0]], "active", self._at(90))
        self._permission = await self._create(permission)
        self.tokens["patient"] = self._token(PEOPLE[0].given, (Scope("patient", "*", "cruds"),), patient=first)
        self._say(90, f"{PEOPLE[0].given} lets {VENDORS[0]} read her record; each patient got a home kit")

    async def _measure(self) -> None:
        for number, person in enumerate(PEOPLE):
            minute = 120 + 5 * number
            await self._read(person, minute, rate="15", saturation="97", pulse="72", temperature="36.8", upper="128")
        self._say(150, f"{len(PEOPLE)} home kits sent calm readings by HTTP; each was scored, none raised an alert")

    async def _decompensate(self, inbox: Inbox) -> None:
        person = PEOPLE[0]
        patient = self.patients[person.local]
        await self._create(
            {
                "resourceType": "Communication",
                "status": "completed",
                "subject": {"reference": f"Patient/{patient}"},
                "sender": {"reference": f"Patient/{patient}"},
                "sent": self._at(290),
                "payload": [{"contentString": "Je suis essoufflée depuis cette nuit et mes jambes sont gonflées."}],
            }
        )
        self._say(290, f"{person.given} writes that she is short of breath since last night")
        await self._read(person, 300, rate="27", saturation="89", pulse="134", temperature="37.9", upper="94")
        try:
            async with asyncio.timeout(15):
                await inbox.came.wait()
        except TimeoutError:
            raise DemoFailed("the alert did not reach the subscriber") from None
        found = await self._get(f"/fhir/Task?patient={patient}&status=requested")
        if not found.get("entry"):
            raise DemoFailed("the readings raised no work item")
        priority = found["entry"][0]["resource"].get("priority", "routine")
        self._say(300, f"her kit measures a decompensation: an alert (Task, priority {priority}) is on the worklist")
        self._say(
            300, f"and reached the desk's own server as {inbox.got[0].rpartition('/alerts/')[2].partition('/')[0]}"
        )

    async def _revoke(self) -> None:
        path = f"/fhir/Observation?patient={self.patients[PEOPLE[0].local]}&_summary=count"
        before = (await self._get(path, "TéléCœur"))["total"]
        permission = await self._get(f"/fhir/Consent/{self._permission}", "patient")
        await self._put(f"/fhir/Consent/{self._permission}", {**permission, "status": "inactive"}, "patient")
        after = (await self._get(path, "TéléCœur"))["total"]
        if not before or after:
            raise DemoFailed("the revocation did not take effect on the next request")
        self._say(
            420, f"{PEOPLE[0].given} revokes {VENDORS[0]}: it saw {before} Observations, on its next request {after}"
        )

    async def _validate(self) -> None:
        path = f"/fhir/Patient/{self.patients[PEOPLE[0].local]}"
        draft = await self._get(f"{path}/$pre-dmp", "doctor")
        answer = await self._http.post(f"{path}/$validate-pre-dmp", headers=self._headers("doctor"))
        if answer.status_code >= 300:
            raise DemoFailed(f"the record was not validated: {answer.status_code} {answer.text[:300]}")
        final = await self._get(f"{path}/$pre-dmp", "doctor")
        states = [bundle["entry"][0]["resource"]["status"] for bundle in (draft, final)]
        self._say(
            480, f"Dr Exemple-Martin validates her record ({len(final['entry'])} entries): {states[0]} -> {states[1]}"
        )

    # --- callers ---------------------------------------------------------------
    async def _read(
        self, person: Person, minute: int, *, rate: str, saturation: str, pulse: str, temperature: str, upper: str
    ) -> None:
        at = self._at(minute)
        readings = [
            reading(f"{minute}-1", "9279-1", rate, "/min", at),
            reading(f"{minute}-2", "2708-6", saturation, "%", at),
            reading(f"{minute}-3", "8867-4", pulse, "/min", at),
            reading(f"{minute}-4", "8310-5", temperature, "Cel", at),
            pressure(f"{minute}-5", upper, "75", at),
        ]
        body = {"device": {"system": KITS, "value": person.device}, "readings": readings}
        answer = await self._http.post("/devices", json=body, headers=self._headers("operator"))
        states = [result["status"] for result in answer.json().get("results", [])]
        if states != ["stored"] * len(readings):
            raise DemoFailed(f"the readings were not stored: {answer.status_code} {answer.text[:300]}")

    async def _create(self, resource: dict[str, Any]) -> str:
        answer = await self._http.post(
            f"/fhir/{resource['resourceType']}", json=resource, headers=self._headers("operator")
        )
        if answer.status_code != 201:
            raise DemoFailed(f"{resource['resourceType']} was not stored: {answer.status_code} {answer.text[:300]}")
        return str(answer.json()["id"])

    async def _get(self, path: str, who: str = "operator") -> dict[str, Any]:
        answer = await self._http.get(path, headers=self._headers(who))
        if answer.status_code != 200:
            raise DemoFailed(f"{path.partition('?')[0]}: {answer.status_code} {answer.text[:300]}")
        found: dict[str, Any] = answer.json()
        return found

    async def _put(self, path: str, resource: dict[str, Any], who: str) -> None:
        answer = await self._http.put(path, json=resource, headers=self._headers(who))
        if answer.status_code != 200:
            raise DemoFailed(f"{path}: {answer.status_code} {answer.text[:300]}")

    def _headers(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[who]}"}

    async def _mllp(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self._settings.mllp.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: str) -> None:
        writer.write(b"\x0b" + message.encode() + b"\x1c\r")
        answer = await reader.readuntil(b"\x1c\r")
        if b"MSA|AA|" not in answer:
            raise DemoFailed("a message was not acknowledged with AA")

    def _next(self) -> str:
        self._control += 1
        return f"DEMO{self._today:%Y%m%d}{self._control:04d}"

    def _moment(self, minute: int) -> datetime:
        return self._today + timedelta(minutes=minute)

    def _when(self, minute: int) -> str:
        return f"{self._moment(minute):%Y%m%d%H%M%S}"

    def _at(self, minute: int) -> str:
        return self._moment(minute).isoformat()

    def _say(self, minute: int, text: str) -> None:
        self._tell(f"{self._moment(minute):%H:%M}", text)


def _morning(now: datetime) -> datetime:
    """Return eight o'clock of the last day whose working hours are over, so that nothing lies in the future."""
    day = now if now.hour >= 17 else now - timedelta(days=1)
    return day.replace(hour=8, minute=0, second=0, microsecond=0)
