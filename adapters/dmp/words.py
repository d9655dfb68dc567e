"""The hub's own words for codes that often come without a text, in French and English."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

LOINC_WORDS: Final = MappingProxyType(
    {
        "85354-9": ("Pression artérielle", "Blood pressure"),
        "8480-6": ("Pression systolique", "Systolic pressure"),
        "8462-4": ("Pression diastolique", "Diastolic pressure"),
        "8478-0": ("Pression moyenne", "Mean pressure"),
        "8867-4": ("Fréquence cardiaque", "Heart rate"),
        "9279-1": ("Fréquence respiratoire", "Respiratory rate"),
        "2708-6": ("Saturation en oxygène", "Oxygen saturation"),
        "59408-5": ("Saturation en oxygène", "Oxygen saturation"),
        "8310-5": ("Température", "Body temperature"),
        "29463-7": ("Poids", "Body weight"),
        "8302-2": ("Taille", "Body height"),
        "39156-5": ("Indice de masse corporelle", "Body mass index"),
        "2339-0": ("Glycémie", "Blood glucose"),
    }
)

UNIT_WORDS: Final = MappingProxyType(
    {"Cel": "°C", "[degF]": "°F", "mm[Hg]": "mmHg", "[lb_av]": "lb", "[in_i]": "in", "10*9/L": "10⁹/L"}
)

STATUS_WORDS: Final = MappingProxyType(
    {
        "active": ("actif", "active"),
        "recurrence": ("récidive", "recurrence"),
        "relapse": ("rechute", "relapse"),
        "inactive": ("inactif", "inactive"),
        "remission": ("rémission", "remission"),
        "resolved": ("résolu", "resolved"),
        "completed": ("terminé", "completed"),
        "finished": ("terminé", "finished"),
        "in-progress": ("en cours", "in progress"),
        "on-hold": ("en attente", "on hold"),
        "stopped": ("arrêté", "stopped"),
        "cancelled": ("annulé", "cancelled"),
        "draft": ("brouillon", "draft"),
        "intended": ("prévu", "intended"),
        "not-taken": ("non pris", "not taken"),
        "not-done": ("non fait", "not done"),
        "planned": ("prévu", "planned"),
        "final": ("définitif", "final"),
        "preliminary": ("provisoire", "preliminary"),
        "requested": ("à prendre en charge", "requested"),
        "received": ("reçu", "received"),
        "accepted": ("pris en charge", "accepted"),
        "confirmed": ("confirmé", "confirmed"),
        "unconfirmed": ("non confirmé", "unconfirmed"),
        "provisional": ("provisoire", "provisional"),
        "differential": ("différentiel", "differential"),
        "refuted": ("écarté", "refuted"),
        "unknown": ("inconnu", "unknown"),
    }
)


def word(code: str, language: str) -> str:
    """Return a status in words, the code itself where there are none."""
    known = STATUS_WORDS.get(code)
    return code if known is None else known[language == "en"]
