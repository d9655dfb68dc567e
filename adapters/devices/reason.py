"""Why a reading is kept aside: stable codes, with a text in French and English that shows no value."""

from __future__ import annotations

from typing import Final, NamedTuple


class Reason(NamedTuple):
    """Why a reading is not in the record."""

    code: str  # stable: senders branch on it
    fr: str
    en: str

    def text(self, language: str) -> str:
        """Return the words in `fr` or `en`."""
        return self.en if language == "en" else self.fr


MALFORMED: Final = Reason(
    "reading-malformed",
    "La mesure n'a pas la forme attendue.",
    "The reading does not have the expected shape.",
)
CODE_UNKNOWN: Final = Reason(
    "code-unknown",
    "Le code de la mesure n'est pas dans la table des mesures.",
    "The reading's code is not in the table of measures.",
)
UNIT_UNKNOWN: Final = Reason(
    "unit-unknown",
    "L'unité n'est pas connue.",
    "The unit is not known.",
)
UNIT_MISMATCH: Final = Reason(
    "unit-mismatch",
    "L'unité ne peut pas être convertie dans celle de cette mesure.",
    "The unit cannot be converted into the one of this measure.",
)
VALUE_UNREADABLE: Final = Reason(
    "value-unreadable",
    "La valeur n'est pas un nombre décimal.",
    "The value is not a decimal number.",
)
VALUE_IMPLAUSIBLE: Final = Reason(
    "value-implausible",
    "La valeur est hors des limites plausibles de cette mesure.",
    "The value is outside the plausible bounds of this measure.",
)
COMPONENT_MISSING: Final = Reason(
    "component-missing",
    "Il manque un composant obligatoire.",
    "A required component is missing.",
)
TIME_UNREADABLE: Final = Reason(
    "time-unreadable",
    "L'heure n'est pas une date complète avec heure et décalage horaire.",
    "The time is not a full date with time of day and offset.",
)
UNTRACEABLE: Final = Reason(
    "reading-untraceable",
    "Sans heure ni identifiant, la mesure ne peut être distinguée de sa copie.",
    "Without time and id the reading cannot be told from its copy.",
)
RETAINED: Final = Reason(
    "retained-without-time",
    "Le courtier avait retenu ce message : sans heure propre, on ne sait pas quand la mesure a été faite.",
    "The broker had retained this message: without a time of its own nobody knows when it was measured.",
)
CONFLICT: Final = Reason(
    "reading-conflict",
    "Une autre mesure a déjà été reçue sous la même identité.",
    "Another reading was received under the same identity before.",
)
TIME_FUTURE: Final = Reason(
    "time-future",
    "L'heure est dans le futur : l'horloge de l'appareil est à régler, ou son décalage à transmettre.",
    "The time is in the future: the device's clock is to be set, or its offset to be sent.",
)
TIME_IMPLAUSIBLE: Final = Reason(
    "time-implausible",
    "L'heure est celle d'une horloge qui n'a jamais été réglée.",
    "The time is that of a clock that was never set.",
)
CONTROL_SOLUTION: Final = Reason(
    "control-solution",
    "Mesure d'une solution de contrôle : elle n'est celle d'aucun patient.",
    "A measurement of control solution: it is no patient's.",
)
PATIENT_MISMATCH: Final = Reason(
    "patient-mismatch",
    "L'envoi nomme une autre personne que celle à qui l'appareil est attribué.",
    "The message names another person than the one whom the device is assigned to.",
)
SESSION_UNKNOWN: Final = Reason(
    "session-unknown",
    "La séance n'est pas connue, ou elle est celle d'un autre patient.",
    "The session is not known, or it is another patient's.",
)
DEVICE_UNKNOWN: Final = Reason(
    "device-unknown",
    "Aucun appareil en service ne porte cet identifiant.",
    "No device in service has this identifier.",
)
DEVICE_AMBIGUOUS: Final = Reason(
    "device-ambiguous",
    "Plusieurs appareils en service portent cet identifiant.",
    "Several devices in service have this identifier.",
)
UNASSIGNED: Final = Reason(
    "patient-unassigned",
    "L'appareil n'était attribué à personne à l'heure de la mesure.",
    "The device was assigned to nobody at the time of the reading.",
)
PATIENT_AMBIGUOUS: Final = Reason(
    "patient-ambiguous",
    "L'appareil était attribué à plusieurs personnes à l'heure de la mesure.",
    "The device was assigned to more than one person at the time of the reading.",
)
REFUSED: Final = Reason(
    "reading-refused",
    "Le dossier a refusé la mesure.",
    "The record refused the reading.",
)
NO_ROOM: Final = Reason(
    "quarantine-full",
    "Elle n'a pas pu être mise de côté, faute de place : rien n'en est gardé, il faut la renvoyer plus tard.",
    "There was no room to keep it aside: nothing of it is kept, it is to be sent again later.",
)
"""Told beside the reason, where a reading is neither taken nor kept."""

FORMAT_UNKNOWN: Final = Reason(
    "format-unknown",
    "Le format du message n'est pas reçu par cette voie.",
    "The message's format is not taken on this way.",
)
PAYLOAD_MALFORMED: Final = Reason(
    "payload-malformed",
    "Le message ne peut pas être lu.",
    "The message cannot be read.",
)
PAYLOAD_TOO_LARGE: Final = Reason(
    "payload-too-large",
    "Le message est plus long que ce qui est reçu par cette voie.",
    "The message is longer than what is taken on this way.",
)
TOPIC_UNKNOWN: Final = Reason(
    "topic-unknown",
    "Le sujet MQTT ne nomme pas un territoire, une passerelle et un appareil connus ici.",
    "The MQTT topic does not name a tenant, a gateway and a device as they are known here.",
)
IDENTITY_MISMATCH: Final = Reason(
    "identity-mismatch",
    "L'appareil que nomme le message n'est pas celui de la voie par laquelle il est venu.",
    "The device that the message names is not the one of the way it came by.",
)
SCHEMA_UNKNOWN: Final = Reason(
    "schema-unknown",
    "Le schéma de la donnée n'est pas connu ici.",
    "The schema of the data point is not known here.",
)
STATISTIC: Final = Reason(
    "statistic",
    "La valeur est une statistique (moyenne, maximum), pas une mesure.",
    "The value is a statistic (average, maximum), not a reading.",
)
USER_AMBIGUOUS: Final = Reason(
    "user-ambiguous",
    "La mesure peut être celle d'une autre personne.",
    "The reading may be another person's.",
)
NOT_MEASURED: Final = Reason(
    "not-measured",
    "La valeur a été saisie à la main, pas mesurée par un appareil.",
    "The value was entered by hand, not measured by a device.",
)

ALL: Final = (
    MALFORMED,
    CODE_UNKNOWN,
    UNIT_UNKNOWN,
    UNIT_MISMATCH,
    VALUE_UNREADABLE,
    VALUE_IMPLAUSIBLE,
    COMPONENT_MISSING,
    TIME_UNREADABLE,
    UNTRACEABLE,
    RETAINED,
    CONFLICT,
    TIME_FUTURE,
    TIME_IMPLAUSIBLE,
    CONTROL_SOLUTION,
    PATIENT_MISMATCH,
    SESSION_UNKNOWN,
    DEVICE_UNKNOWN,
    DEVICE_AMBIGUOUS,
    UNASSIGNED,
    PATIENT_AMBIGUOUS,
    REFUSED,
    FORMAT_UNKNOWN,
    PAYLOAD_MALFORMED,
    PAYLOAD_TOO_LARGE,
    TOPIC_UNKNOWN,
    IDENTITY_MISMATCH,
    SCHEMA_UNKNOWN,
    STATISTIC,
    USER_AMBIGUOUS,
    NOT_MEASURED,
)
