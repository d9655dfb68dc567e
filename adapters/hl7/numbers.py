"""Numbers and structured numerics (NM, SN) as they are written.

Source: HL7 v2.5.1 chapter 2A (NM, SN); the guide's maps NM[Quantity], SN[Quantity], SN[Range], SN[Ratio].
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from fhir_server import gate

COMPARATORS = frozenset({"", "=", "<", ">", "<=", ">="})
_NUMBER = re.compile(r"([+-]?)0*(\d*)(?:\.(\d*))?", re.ASCII)
_COMPARED = re.compile(r"(<=|>=|<|>|=)?\s*([+-]?[\d.]+)", re.ASCII)
_RANGE = re.compile(r"\s*([+-]?[\d.]+)\s*(?:-|–|à|to)\s*([+-]?[\d.]+)\s*", re.ASCII)
_BOUND = re.compile(r"\s*(<=|>=|<|>|≤|≥)\s*([+-]?[\d.]+)\s*", re.ASCII)
_TITRE = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*", re.ASCII)


def decimal(text: str) -> Decimal | None:
    """Read an NM; digits stay as written. FHIR has no `+5`, `.5`, `5.` or `007`: these are written 5, 0.5, 5, 7."""
    text = text.strip()
    if text.isascii() and text.isdigit() and text[0] != "0" and len(text) <= gate.MAX_NUMBER:
        return gate.number(text)
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > gate.MAX_NUMBER or not (match.group(2) or match.group(3) or "0" in text):
        return None
    sign, whole, fraction = match.groups()
    return gate.number(f"{'-' if sign == '-' else ''}{whole or '0'}{'.' + fraction if fraction else ''}")


def quantity(value: Decimal, unit: dict[str, Any], comparator: str = "") -> dict[str, Any]:
    """Return a Quantity; the comparator `=` is none."""
    made: dict[str, Any] = {"value": value}
    if comparator and comparator != "=":
        made["comparator"] = comparator
    return {**made, **unit}


def compared(text: str, unit: dict[str, Any]) -> dict[str, Any] | None:
    """Read a number with or without a comparator, e.g. `<0.10`, as a Quantity."""
    match = _COMPARED.fullmatch(text.strip())
    value = decimal(match.group(2)) if match else None
    return quantity(value, unit, match.group(1) or "") if match and value is not None else None


def structured(parts: tuple[str, str, str, str], unit: dict[str, Any]) -> dict[str, Any] | None:
    """Read an SN (comparator, number, separator, number) as value[x]; None where it is no such number.

    `-` makes a Range, `:` and `/` a Ratio, `<>` and `+` a text.
    """
    comparator, first, separator, second = (text.strip() for text in parts)
    if comparator == "<>" or separator == "+":
        return {"valueString": " ".join(t for t in (comparator, first, separator, second, unit.get("unit", "")) if t)}
    if comparator not in COMPARATORS:
        return None
    low, high = decimal(first), decimal(second) if second else None
    if separator in ("-", ":", "/") and low is not None and high is not None:
        if separator == "-":
            if low > high:
                return None
            return {"valueRange": {"low": quantity(low, unit), "high": quantity(high, unit)}}
        return {"valueRatio": {"numerator": quantity(low, unit, comparator), "denominator": quantity(high, unit)}}
    if low is None or separator or second:
        return None
    return {"valueQuantity": quantity(low, unit, comparator)}


def numeric_text(text: str, unit: dict[str, Any]) -> dict[str, Any] | None:
    """Read what senders write into an NM beside numbers: `<5`, `2-5`, `1:80`; None for the rest."""
    if found := compared(text, unit):
        return {"valueQuantity": found}
    if (match := _RANGE.fullmatch(text)) or (match := _TITRE.fullmatch(text)):
        separator = ":" if match.re is _TITRE else "-"
        return structured(("", match.group(1), separator, match.group(2)), unit)
    return None


def bounds(text: str, unit: dict[str, Any]) -> dict[str, Any]:
    """Read OBX-7 (`3.5-5.0`, `<5`, `>=10`) as low and high of a reference range; empty where it is neither.

    A bound that is itself excluded (`<5`) is given as the bound: FHIR's range has no comparator, the text has.
    """
    if match := _RANGE.fullmatch(text):
        ends = {"low": decimal(match.group(1)), "high": decimal(match.group(2))}
        if ends["low"] is None or ends["high"] is None or ends["low"] > ends["high"]:
            return {}
    elif match := _BOUND.fullmatch(text):
        ends = {"high" if match.group(1) in ("<", "<=", "≤") else "low": decimal(match.group(2))}
    else:
        return {}
    return {name: quantity(value, unit) for name, value in ends.items() if value is not None}
