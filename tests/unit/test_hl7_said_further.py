"""What messages say beside the heart of the matter: who entered an order, how a patient left, who is not known."""

from __future__ import annotations

import pytest

from adapters.hl7.maps.extensions import OWN
from tests.hl7_core import find, hub, take
from tests.hl7_messages import WHEN, arrive, header, message, observations, obx, oru, pid, pv1, wanted
from tests.hl7_orders import obr, orc, order, rxa, txa

LATER = "20261120093000"
PARTICIPANTS = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def event(name: str, *rows: str, when: str = WHEN, person: str = "") -> str:
    """Return an ADT message of that event."""
    return message(header(f"ADT^{name}", f"{name}{when}", when), f"EVN|{name}|{when}", person or pid(), *rows)


async def test_who_entered_verified_placed_and_made_an_order_is_told_of_it() -> None:
    text = order(orc(f10="5^ENTER^E", f11="6^VERIFY^V", f12="7^CURIE^MARIE", f17="W5^Ward 5^L", f19="8^ACT^A"), obr())
    async with hub() as core:
        await take(core, text)
        (made,), (asked,) = await find(core, "Provenance"), await find(core, "ServiceRequest")
    told = [(one["type"]["coding"][0]["code"], one["who"]["display"]) for one in made["agent"]]
    assert told == [("enterer", "E ENTER"), ("verifier", "V VERIFY"), ("author", "MARIE CURIE"), ("performer", "A ACT")]
    assert {one["type"]["coding"][0]["system"] for one in made["agent"]} == {PARTICIPANTS}
    assert [one["onBehalfOf"]["display"] for one in made["agent"] if "onBehalfOf" in one] == ["Ward 5"]
    assert made["target"][0] == {"reference": f"ServiceRequest/{asked['id']}"} and len(made["target"]) == 2
    assert made["activity"]["coding"][0]["code"] == "CREATE"
    assert {"ORC-10", "ORC-11", "ORC-17", "ORC-19"} & set(arrive(text).unused) == set()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(order(orc(f12="7^CURIE^MARIE"), obr()), id="nobody beside who asks"),
        pytest.param(order(orc("CA", f10="5^ENTER^E")), id="an order that is meant by its number alone"),
        pytest.param(order(orc(f10="^^^"), obr()), id="a field of delimiters"),
    ],
)
def test_an_order_without_more_people_has_no_provenance(text: str) -> None:
    assert wanted(text, "Provenance") == []


async def test_the_same_order_again_tells_nobody_twice() -> None:
    text = order(orc(f10="5^ENTER^E"), obr())
    async with hub() as core:
        await take(core, text, text)
        assert [one["meta"]["versionId"] for one in await find(core, "Provenance")] == ["1"]


async def test_a_cancelled_discharge_takes_back_where_to_and_how_the_patient_left() -> None:
    left = pv1(f14="1", f36="01^Home^L", f37="REHA^20261120", f45=LATER)
    async with hub() as core:
        await take(core, event("A03", left, when=LATER))
        assert (await find(core, "Encounter"))[0]["hospitalization"].keys() >= {"dischargeDisposition", "destination"}
        await take(core, event("A13", left, when="20261120103000"))
        (made,) = await find(core, "Encounter")
    assert made["status"] == "in-progress" and made["hospitalization"].keys() == {"admitSource"}


@pytest.mark.parametrize("name", ["A24", "A37"])
async def test_two_numbers_of_a_patient_that_was_merged_are_not_linked(name: str) -> None:
    other = pid("P2^^^CHU&1.2.250.1.999.1&ISO^PI")
    async with hub() as core:
        await take(core, event("A28"), event("A28", person=other, when="20261120083100"))
        await take(core, event("A40", "MRG|P2^^^CHU&1.2.250.1.999.1&ISO^PI", when=LATER))
        (effect,) = await take(core, event(name, other, when="20261120103000"))
        found = await find(core, "Patient")
    assert "merged-already" in {problem.rule for problem in effect.problems}
    assert {link["type"] for one in found for link in one["link"]} == {"replaces", "replaced-by"}


async def test_a_person_who_is_not_known_is_marked_so_until_known() -> None:
    async with hub() as core:
        await take(core, event("A01", pv1(f2="E"), person=pid(f31="Y")))
        (made,) = await find(core, "Patient")
        assert {"url": OWN + "identity-unknown", "valueBoolean": True} in made["extension"]
        await take(core, event("A08", pv1(f2="E"), person=pid(f31="N"), when=LATER))
        assert "identity-unknown" not in str(await find(core, "Patient"))


async def test_the_type_of_a_patient_is_kept_with_the_stay() -> None:
    async with hub() as core:
        await take(core, event("A01", pv1(f18="AMBU^Ambulatory^L")))
        (made,) = await find(core, "Encounter")
    (one,) = [one for one in made["extension"] if one["url"] == OWN + "patient-type"]
    assert one["valueCodeableConcept"]["coding"][0]["code"] == "AMBU"


async def test_the_number_of_vaccinations_without_an_order_is_none_of_theirs() -> None:
    async with hub() as core:
        await take(core, rxa().replace("V1^DPI|V2^LAB", "9999^DPI|9999"))
        assert "identifier" not in (await find(core, "Immunization"))[0]
        await take(core, rxa().replace("V1^DPI|V2^LAB", "V1^DPI|9999").replace("|V1|P|", "|V9|P|"))
        numbers = [[n["value"] for n in one.get("identifier", ())] for one in await find(core, "Immunization")]
    assert sorted(numbers) == [[], ["V1"]]


@pytest.mark.parametrize("count", [1, 3])
def test_a_code_without_a_map_is_counted_where_it_stands_and_not_where_it_is_read(count: int) -> None:
    about = obr(f3="L1^LAB", code="PANEL^Panel^L", f7=WHEN, f25="F")
    text = oru(*(obx("QQ^x^L", f4=str(n)) for n in range(count)), order=about)
    assert {(path, code): times for path, _, code, times in arrive(text).unmapped} == {
        ("OBR-4", "PANEL"): 1, ("OBX-3", "QQ"): count,
    }  # fmt: skip


async def test_a_cancelled_discharge_takes_back_the_french_modes_of_leaving() -> None:
    about, back = "ZFM|8|5|3|1", "ZFM|8|5|3|1"
    async with hub() as core:
        await take(core, event("A03", pv1(f45=LATER), about, "ZFV|X|2||||||||9", when=LATER))
        before = {one["url"].removeprefix(OWN) for one in (await find(core, "Encounter"))[0]["extension"]}
        await take(core, event("A13", pv1(), back, when="20261120103000"))
        after = {one["url"].removeprefix(OWN) for one in (await find(core, "Encounter"))[0]["extension"]}
    assert before - after >= {"pmsi-exit-mode", "pmsi-destination", "exit-transport"}
    assert after >= {"pmsi-entry-mode", "pmsi-origin", "visit-origin"}


def test_a_local_segment_that_is_read_is_not_told_as_one_that_is_not() -> None:
    found = arrive(event("A01", pv1(), "ZFM|8", f"ZBE|1^CHU|{WHEN}||INSERT|N", "ZZZ|1"))
    assert [one.path for one in found.problems if one.rule == "segment-local"] == ["ZZZ[1]"]


@pytest.mark.parametrize(
    ("telecom", "has"),
    [
        pytest.param("^NET^Internet^a@b.fr", False, id="of an address of e-mail NET says nothing further"),
        pytest.param("^NET^X.400^a", False, id="nor of X.400"),
        pytest.param("^NET^PH^^^^0102", True, id="of a telephone it has no map"),
    ],
)
def test_the_use_of_a_network_address(telecom: str, has: bool) -> None:
    found = arrive(event("A28", person=pid(f13=telecom)))
    assert bool(found.unmapped) is has


WEIGHT = obx("29463-7^Weight^LN", "70", "kg", f14="")


def _given(kind: str, version: str) -> str:
    """Return a message that tells a patient's weight before it comes to the matter."""
    matters = {
        "ORU^R01^ORU_R01": (obr(f3="L1^LAB", f7=WHEN, f25="F"), obx("X^X^L", "5")),
        "OML^O21^OML_O21": (orc(), obr()),
        "SIU^S12^SIU_S12": ("RGS|1|A", "AIP|1|A|7^CURIE^MARIE"),
    }
    ahead = ("SCH|P1^DPI|F1^RDV|||||||30|min|^^^20261201090000",) if kind.startswith("SIU") else ()
    start = header(kind, f12=version)
    return message(start, *ahead, pid(), WEIGHT, "PRT|1|AD||AT|7^D^G", "NTE|1||in bed", *matters[kind])


@pytest.mark.parametrize("version", ["2.6", "2.7", "2.8"])
@pytest.mark.parametrize("kind", ["ORU^R01^ORU_R01", "OML^O21^OML_O21", "SIU^S12^SIU_S12"])
async def test_what_is_observed_of_the_patient_before_the_matter_is_stored(kind: str, version: str) -> None:
    text = _given(kind, version)
    async with hub() as core:
        await take(core, text, text)
        (made,) = [one for one in await find(core, "Observation") if "29463-7" in str(one["code"])]
        assert await find(core, "CareTeam") == []
    assert made["effectiveDateTime"] == "2026-11-20T08:30:00+01:00"
    assert "note" in made or kind.startswith("ORU"), "there a comment is of what follows"
    assert made["meta"]["versionId"] == "1"
    assert "OBX" not in arrive(text).unused


def _line(text: str, status: str, code: str = "CR^Report^L", kind: str = "TX") -> str:
    return obx(code, text, "", kind, f11=status, f14="")


@pytest.mark.parametrize(
    ("rows", "content"),
    [
        pytest.param((_line("of another", "W"),), [{"title": "Report"}], id="a text"),
        pytest.param((_line("^a^pdf^Base64^JVBERi0=", "D", kind="ED"),), [{"title": "Report"}], id="a file"),
        pytest.param((_line("70", "X", "W^Weight^L", "NM"),), [{"title": "Weight"}], id="a value"),
        pytest.param(
            (_line("one", "F"), _line("two", "D")),
            [{"contentType": "text/plain; charset=utf-8", "data": "b25l", "title": "Report"}, {"title": "Report"}],
            id="a line of a text",
        ),
    ],
)
def test_what_was_withdrawn_is_no_content_of_a_document(rows: tuple[str, ...], content: list[dict[str, str]]) -> None:
    (made,) = wanted(txa("T08", *rows), "DocumentReference")
    assert [one["attachment"] for one in made["content"]] == content


@pytest.mark.parametrize(
    ("code", "system", "rules"),
    [
        ("2345-7^Glucose^LOINC", "http://loinc.org", {"code-system-assumed"}),
        ("2345-7^Glucose^Loinc", "http://loinc.org", {"code-system-assumed"}),
        ("2345-7^Glucose^http://loinc.org", "http://loinc.org", set()),
        ("2345-7^Glucose^2.16.840.1.113883.6.1", "http://loinc.org", set()),
        ("2345-7^Glucose^^^^^^^^^^^^2.16.840.1.113883.6.1", "http://loinc.org", set()),
        ("111^x^SNOMED-CT", "http://snomed.info/sct", {"code-system-assumed"}),
        ("I10^x^CIM-10", "http://hl7.org/fhir/sid/icd-10", {"code-system-assumed"}),
        ("1^x^99LOINC", "urn:predmp:facility:CHU-TEST:codes:99LOINC", set()),
        ("1^x^LOINCX", "urn:predmp:facility:CHU-TEST:codes:LOINCX", {"code-system-unknown"}),
        ("1^x^1.2.250.1.9", "urn:oid:1.2.250.1.9", set()),
    ],
)
def test_a_code_system_is_known_by_its_name_its_oid_and_its_address(code: str, system: str, rules: set[str]) -> None:
    text = oru(obx(code, f14=WHEN))
    (made,) = observations(text)
    assert made["code"]["coding"][0]["system"] == system
    assert {one.rule for one in arrive(text).problems if one.path == "OBX[1]-3"} == rules


def test_a_pulse_whose_code_system_is_written_out_is_a_vital_sign() -> None:
    (made,) = observations(oru(obx("8867-4^Pulse^LOINC")))
    assert made["category"][0]["coding"][0]["code"] == "vital-signs"
