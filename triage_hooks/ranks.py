"""The order of alerts: the six levels of the French emergency triage, as rows.

Source: SFMU, FRENCH triage grid V1, March 2018, p. 8 (levels and delays to a physician). The delays are those
of an emergency department. Priority, indicator and colour are this hub's design, for clinicians to confirm.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Rank(NamedTuple):
    """One level; `place` 1 is the most urgent."""

    place: int
    code: str  # of the FRENCH grid
    priority: str  # Task.priority
    sla_min: int  # minutes until somebody must have taken the alert
    indicator: str  # of a CDS Hooks card
    french: str
    english: str


RANKS: Final = (
    Rank(1, "1", "stat", 0, "critical", "détresse vitale", "life-threatening"),
    Rank(2, "2", "stat", 20, "critical", "très urgent", "very urgent"),
    Rank(3, "3A", "asap", 60, "warning", "urgent", "urgent"),
    Rank(4, "3B", "urgent", 90, "warning", "à voir dans l’heure et demie", "to be seen within ninety minutes"),
    Rank(5, "4", "routine", 120, "info", "peu urgent", "less urgent"),
    Rank(6, "5", "routine", 240, "info", "non urgent", "not urgent"),
)
_BY_CODE: Final = {rank.code: rank for rank in RANKS}
ALERTING: Final = 4  # places up to this one open an alert; 4 is tri 3B


def rank(code: str) -> Rank:
    """Return the level of a FRENCH code; KeyError where there is none."""
    return _BY_CODE[code]


def at_place(place: object) -> Rank:
    """Return the level at a place; the last one where the place means nothing."""
    return RANKS[place - 1] if isinstance(place, int) and 1 <= place <= len(RANKS) else RANKS[-1]
