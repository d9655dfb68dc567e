"""Validation beside fhir.resources: a blood pressure of 831 bytes, from its bytes to checked data.

`python -m bench.validation` prints how many times faster the gate with the validator is. Both run in one
process, in turns, and the best of many short rounds counts, so that other load on the machine weighs on neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from time import perf_counter

from fhir.resources.R4B import get_fhir_model_class

from fhir_server import gate
from fhir_server.validation import validate

ROUNDS = 30
BODY = (
    b'{"resourceType":"Observation","id":"bp1","meta":{"profile":["http://hl7.org/fhir/StructureDefinition/'
    b'vitalsigns"]},"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/'
    b'observation-category","code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":'
    b'"85354-9","display":"Blood pressure panel"}]},"subject":{"reference":"Patient/1"},"effectiveDateTime":'
    b'"2012-09-17T10:00:00+02:00","performer":[{"reference":"Practitioner/example"}],"component":[{"code":{'
    b'"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":107.5,"unit":"mmHg",'
    b'"system":"http://unitsofmeasure.org","code":"mm[Hg]"}},{"code":{"coding":[{"system":"http://loinc.org",'
    b'"code":"8462-4"}]},"valueQuantity":{"value":60,"unit":"mmHg","system":"http://unitsofmeasure.org","code":'
    b'"mm[Hg]"}}]}'
)


def microseconds(work: Callable[[], object], times: int) -> float:
    """Return how long one run of `work` takes, in microseconds, over `times` runs."""
    begin = perf_counter()
    for _ in range(times):
        work()
    return (perf_counter() - begin) / times * 1e6


def main() -> None:
    """Print the times and the ratio."""
    model, data = get_fhir_model_class("Observation"), json.loads(BODY)
    works: dict[str, tuple[Callable[[], object], int]] = {
        "gate and validate, from bytes": (lambda: validate(gate.parse(BODY)), 500),
        "fhir.resources R4B model_validate, from a dict": (lambda: model.model_validate(data), 50),
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, (work, times) in works.items():
            best[name] = min(best[name], microseconds(work, times))
    ours, theirs = best.values()
    print(f"Observation of {len(BODY)} bytes")
    for name, value in best.items():
        print(f"  {name}: {value:.1f} µs")
    print(f"  ratio: {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
