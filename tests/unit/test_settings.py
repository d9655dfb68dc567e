"""Settings: flag over variable over file over default; what is malformed is named, never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_server.settings import Settings, SettingsError


def test_the_flag_wins_over_the_variable_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(
        'http = "127.0.0.1:1"\nmllp = "127.0.0.1:2"\nzone = "UTC"\noutbound_allow = ["127.0.0.0/8", "10.0.0.0/8"]\n'
    )
    made = Settings.read({"PREDMP_HTTP": "127.0.0.1:3", "PREDMP_MLLP": "127.0.0.1:4"}, {"http": "127.0.0.1:5"}, file)
    assert (made.http, made.mllp, made.zone, made.tenant) == ("127.0.0.1:5", "127.0.0.1:4", "UTC", "default")
    assert made.outbound_allow == ("127.0.0.0/8", "10.0.0.0/8")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP", "secret"),
        ("HTTP", "host:99999"),
        ("AUTH", "secret"),
        ("ZONE", "Mars/Secret"),
        ("MAX_BODY", "-5"),
        ("OUTBOUND_ALLOW", "secret/8"),
    ],
)
def test_a_malformed_value_is_refused_by_the_name_of_its_setting(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read({f"PREDMP_{name}": value})
    assert f"PREDMP_{name}" in str(caught.value) and value not in str(caught.value)


def test_a_setting_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text("htpp = 'x'\n")
    with pytest.raises(SettingsError, match="htpp"):
        Settings.read({}, {}, file)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1:1", True), ("[::1]:1", True), ("localhost:1", True), ("0.0.0.0:1", False), ("hub.example:1", False)],
)
def test_loopback_is_known(address: str, loopback: bool) -> None:
    assert Settings(http=address).is_loopback is loopback
