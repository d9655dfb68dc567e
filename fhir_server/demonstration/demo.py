"""`predmp demo`: start the hub, play the day, print what to try, serve on."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from fhir_server.app import Composed
from fhir_server.demonstration.day import Day, DemoFailed
from fhir_server.demonstration.people import PEOPLE, VENDORS
from fhir_server.serve import serve
from fhir_server.settings import Settings

LOOPBACK = "127.0.0.0/8"


async def demo(settings: Settings, *, stop: bool, given: bool) -> int:
    """Play the day on a hub of its own.

    Args:
        settings: Of the hub; its own subscriber is on loopback, so that is opened to outbound calls.
        stop: End when the day is over, in place of serving on.
        given: Whether `--store` was given; else a store in a temporary folder is used and removed.

    Returns:
        The exit code: 0, or 1 where the hub did not do what is shown.
    """
    settings = replace(settings, outbound_allow=(*settings.outbound_allow, LOOPBACK))
    if given:
        return await _play(settings, stop=stop)
    with tempfile.TemporaryDirectory(prefix="predmp-demo-") as folder:
        return await _play(replace(settings, store=f"sqlite:///{Path(folder) / 'demo.db'}"), stop=stop)


async def _play(settings: Settings, *, stop: bool) -> int:
    console = Console(highlight=False, soft_wrap=True)
    failed: list[str] = []

    async def play(composed: Composed) -> bool:
        day = Day(composed, lambda time, text: console.print(f"  [bold]{time}[/]  {text}"))
        try:
            await day.play()
        except DemoFailed as error:
            failed.append(str(error))
            console.print(f"[red]The demonstration stopped: {error}[/]")
            return True
        _show(console, settings, day)
        return stop

    await serve(settings, play)
    return 1 if failed else 0


def _show(console: Console, settings: Settings, day: Day) -> None:
    root = settings.root_url
    patient = day.patients[PEOPLE[0].local]
    console.print(f"\nOpen {root}/worklist, {root}/records or {root}/consent and sign in with a token below.")
    for name, text in (
        ("operator", "sees and does everything"),
        ("doctor", "Dr Exemple-Martin, in the care team of all"),
        ("patient", f"{PEOPLE[0].given}, her own record and consents"),
        (VENDORS[0], "a vendor that she revoked"),
    ):
        console.print(f"\n[bold]{name}[/] ({text}):")
        print(day.tokens[name])
    console.print("\nTry:")
    print(f"  curl -H 'Authorization: Bearer TOKEN' '{root}/fhir/Observation?patient={patient}&_sort=-date&_count=5'")
    print(f"  curl -H 'Authorization: Bearer TOKEN' '{root}/fhir/Patient/{patient}/$pre-dmp'")
    console.print("\nCtrl-C ends the hub.")
