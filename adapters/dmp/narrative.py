"""The text of a section as XHTML that anybody can read. Pure; everything that comes from a resource is escaped.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/narrative.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from adapters.dmp.line import Line
from adapters.dmp.sections import Section

_HEAD: Final = (("Quoi", "What"), ("Quand", "When"), ("Détail", "Detail"))


def say(language: str, fr: str, en: str) -> str:
    """Return the one of two texts that is in the language."""
    return en if language == "en" else fr


def table(lines: Sequence[Line], notes: Iterable[str], language: str) -> str:
    """Return a div: a table of lines, and notes below it."""
    head = "".join(f"<th>{escape(say(language, *pair))}</th>" for pair in _HEAD)
    rows = "".join("<tr>" + "".join(f"<td>{clean(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if lines else ""
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{body}{"".join(f"<p>{clean(note)}</p>" for note in notes)}</div>'


def clean(text: str) -> str:
    """Escape a text, and leave out the control characters that XML does not have."""
    return escape("".join(c for c in text if c in "\t\n" or (c >= " " and c not in "\ufffe\uffff" and c != "\x7f")))


def notes_of(section: Section, language: str, *, is_final: bool) -> list[str]:
    """Return what a section must say beside its lines: what is not shown and why, never dropped in silence."""
    made = []
    if section.is_withheld:
        made.append(
            say(language, "Hors du périmètre de la demande.", "Outside of what the request was allowed to read.")
        )
    elif not section.shown:
        made.append(say(language, "Aucune donnée dans le dossier.", "No data in the record."))
    for count, fr, en in (
        (section.left_out, "Autres éléments, plus anciens, non repris ici", "More, older, not shown here"),
        (section.older, "Valeurs plus anciennes dans le dossier", "Earlier values in the record"),
        (section.mistaken, "Éléments saisis par erreur, non repris", "Entered in error, not shown"),
    ):
        if count:
            made.append(f"{say(language, fr, en)}{say(language, ' :', ':')} {count}.")
    if is_final and section.kind.is_live:
        made.append(
            say(
                language,
                "État au moment de ce document ; ne fait pas partie de ce que le médecin a validé.",
                "State at the time of this document; not a part of what the physician validated.",
            )
        )
    return made
