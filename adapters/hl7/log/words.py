"""States, faults and rules in words, French and English: what a message log says to whoever is woken by it."""

from __future__ import annotations

from typing import Final, NamedTuple


class Words(NamedTuple):
    """One text in both languages."""

    fr: str
    en: str


STATES: Final = {
    "received": Words("reçu, en attente", "received, waiting"),
    "applied": Words("appliqué", "applied"),
    "superseded": Words("dépassé", "superseded"),
    "quarantined": Words("en quarantaine", "in quarantine"),
    "filtered": Words("écarté", "left out"),
}

TONES: Final = {"received": "", "applied": "good", "superseded": "warn", "quarantined": "bad", "filtered": ""}
"""State -> how its badge looks."""

FAULTS: Final = {
    "100": Words("segment manquant ou mal placé", "a segment is missing or out of sequence"),
    "101": Words("champ obligatoire absent", "a required field is missing"),
    "102": Words("donnée illisible", "data of the wrong type"),
    "103": Words("valeur absente de la table", "a value is not in its table"),
    "104": Words("valeur trop longue", "a value is too long"),
    "200": Words("type de message non pris en charge", "the message type is not supported"),
    "201": Words("événement non pris en charge", "the event is not supported"),
    "202": Words("message d’essai (MSH-11) refusé", "a test message (MSH-11) is not taken"),
    "203": Words("version HL7 inconnue", "the HL7 version is not known"),
    "204": Words("clé inconnue", "unknown key"),
    "205": Words("même numéro, autre contenu", "the same control id with other content"),
    "206": Words("enregistrement verrouillé", "the record is locked"),
    "207": Words("erreur interne ou ressource refusée", "internal error, or a resource was refused"),
}
"""Code of table 0357 -> what is wrong."""

RULES: Final = {
    "attachment-not-used": Words("pièce jointe non reprise", "attachment not used"),
    "authority-missing": Words(
        "identifiant sans autorité : celle de l’établissement est prise", "identifier without authority: the facility’s"
    ),
    "authority-not-registered": Words(
        "autorité connue par son seul nom : déclarez un NamingSystem",
        "authority known by a local name only: add a NamingSystem",
    ),
    "authority-unreadable": Words("autorité illisible", "authority cannot be read"),
    "base64-malformed": Words("base64 incorrect", "malformed base64"),
    "charset-guessed": Words("jeu de caractères deviné", "character set was guessed"),
    "class-missing": Words("classe de séjour absente", "no class of the stay"),
    "code-map-ambiguous": Words(
        "deux ConceptMap se contredisent : aucune n’est suivie",
        "two ConceptMaps contradict each other: none is followed",
    ),
    "code-map-differs": Words(
        "le message donne un autre code que la ConceptMap", "the message gives another code than the ConceptMap"
    ),
    "code-map-narrower": Words(
        "la ConceptMap en dit plus que le code : non suivie",
        "the ConceptMap says more than the code does: not followed",
    ),
    "code-mapped-inexactly": Words("traduit de façon approchée", "mapped inexactly"),
    "duration-without-time": Words("durée sans heure de début", "duration without the time of its begin"),
    "document-withdrawn": Words("document retiré", "document withdrawn"),
    "authenticator-differs": Words("deux validateurs : TXA-22 est retenu", "TXA-22 counts, not TXA-10"),
    "code-missing": Words("code absent", "no code"),
    "code-not-mapped": Words("code sans correspondance", "code without a map"),
    "code-system-assumed": Words("système de codage en toutes lettres", "coding system by its name written out"),
    "code-system-unknown": Words("système de codage inconnu", "unknown coding system"),
    "comment-empty": Words("commentaire vide", "empty comment"),
    "contact-without-content": Words("contact sans contenu", "contact without content"),
    "control-of-device": Words(
        "contrôle d’un appareil : pas une mesure du patient", "control of a device: no measurement of the patient"
    ),
    "control-characters-left-out": Words("caractères de contrôle retirés", "control characters left out"),
    "delimiters-completed": Words("délimiteurs complétés", "delimiters completed"),
    "device-not-used": Words("appareil non repris", "device not used"),
    "duration-malformed": Words("durée illisible", "duration cannot be read"),
    "end-unknown": Words("fin inconnue", "end not known"),
    "escape-kept": Words("séquence d’échappement conservée telle quelle", "escape sequence kept as it is"),
    "event-without-time-of-day": Words("événement sans heure", "event without a time of day"),
    "hex-malformed": Words("hexadécimal incorrect", "malformed hexadecimal"),
    "identifier-type-unknown": Words("type d’identifiant inconnu", "unknown identifier type"),
    "identity-differs": Words(
        "identité différente de celle du dossier : non reprise", "identity differs from the record: not taken over"
    ),
    "ins-of-doubted-identity": Words("INS écartée : identité douteuse", "INS left out: the identity is doubted"),
    "instant-without-time": Words("horodatage sans heure", "time stamp without a time"),
    "insurance-without-content": Words("assurance sans contenu", "insurance without content"),
    "media-type-corrected": Words("type de média corrigé d’après le contenu", "media type corrected by the content"),
    "merged-already": Words("déjà fusionnés : un seul dossier", "merged already: there is one record"),
    "merged-patient-unknown": Words("patient fusionné inconnu", "the merged patient is not known"),
    "no-longer-listed": Words("n’est plus dans la liste : laissé tel quel", "no longer listed: left as it is"),
    "number-malformed": Words("nombre illisible, gardé en texte", "not a number, kept as text"),
    "number-with-sign": Words("nombre avec comparateur", "number with a comparator"),
    "older-than-stored": Words("plus ancien que le dossier : sans effet", "older than the record: no effect"),
    "order-kind-not-taken": Words("sorte de demande non prise en charge", "kind of order not taken"),
    "order-missing": Words("demande absente", "no order"),
    "order-number-missing": Words("demande sans numéro", "order without a number"),
    "order-refused": Words("demande refusée par le destinataire", "order refused by its recipient"),
    "parent-not-in-message": Words("résultat parent absent du message", "parent result not in the message"),
    "participation-deleted": Words("participation supprimée", "participation deleted"),
    "participation-not-used": Words(
        "rôle qui ne réalise rien : non repris", "role that performs nothing: not taken over"
    ),
    "place-cancelled": Words("lieu d’un transfert annulé : écarté", "place of a cancelled transfer: left out"),
    "period-reversed": Words("fin avant le début : fin écartée", "end before start: the end is left out"),
    "place-no-participant": Words("lieu qui ne peut être participant", "place that can be no participant"),
    "profile-charset-new": Words("jeu de caractères inhabituel", "unusual character set"),
    "profile-code-new": Words("code jamais vu dans ce champ", "code never seen in this field"),
    "profile-field-longer": Words("champ bien plus long que d’habitude", "field much longer than usual"),
    "profile-field-missing": Words("champ toujours présent, absent ici", "field that is always there is missing"),
    "profile-field-new": Words("champ jamais vu", "field never seen before"),
    "profile-repetition-new": Words("champ répété pour la première fois", "field repeats for the first time"),
    "profile-segment-missing": Words("segment toujours présent, absent ici", "segment that is always there is missing"),
    "profile-segment-more": Words("segment plus répété que d’habitude", "segment repeats more than usual"),
    "profile-segment-new": Words("segment jamais vu", "segment never seen before"),
    "profile-type-new": Words("type de message jamais vu", "message type never seen before"),
    "profile-version-new": Words("version HL7 inhabituelle", "unusual HL7 version"),
    "relation-assumed": Words("lien de parenté supposé", "relation assumed"),
    "repetition-not-used": Words("répétitions suivantes non reprises", "later repetitions not used"),
    "resource-deleted": Words("ressource supprimée depuis : laissée ainsi", "resource deleted since: left so"),
    "result-repeated": Words("résultat répété dans le message", "result repeated in the message"),
    "role-also-in-PV1": Words("rôle déjà dans PV1", "role also in PV1"),
    "period-unknown": Words("échantillons sans période", "samples without a period"),
    "role-deleted": Words("rôle supprimé", "role deleted"),
    "problems-left-out": Words("autres remarques non gardées (combien)", "more problems, not kept (how many)"),
    "segment-local": Words("segment local (Z)", "local segment (Z)"),
    "segment-out-of-place": Words("segment hors de sa place", "segment out of place"),
    "status-differs": Words("statuts différents", "statuses differ"),
    "status-without-counterpart": Words("statut sans équivalent FHIR", "status without a counterpart in FHIR"),
    "status-from-results": Words("statut déduit des résultats", "status taken from the results"),
    "time-ambiguous": Words("heure double (changement d’heure)", "time that comes twice (clock change)"),
    "text-too-long": Words(
        "texte plus long qu’un Mo : gardé dans le message seul", "text over 1 MB: kept in the message alone"
    ),
    "time-malformed": Words("date illisible", "time cannot be read"),
    "time-precision-added": Words("heure complétée", "time completed"),
    "too-many-segments": Words(
        "segments trop nombreux : le reste n’est pas repris", "too many segments: the rest is not used"
    ),
    "unit-ambiguous": Words("G/L lu comme giga par litre", "G/L read as giga per litre"),
    "unit-unknown": Words("unité sans code UCUM", "unit without a UCUM code"),
    "value-type-as-text": Words("type de valeur repris en texte", "value type taken as text"),
    "visit-number-missing": Words("séjour sans numéro : non enregistré", "stay without a number: not stored"),
    "visit-of-another-patient": Words("séjour d’un autre patient", "stay of another patient"),
    "visit-unknown": Words("séjour inconnu", "stay not known"),
}
"""Rule of a problem -> what happened; a rule that is not here is shown as it is."""


def in_words(known: dict[str, Words], key: str, language: str) -> str:
    """Return a text in a language; the key itself, with spaces, where there is none."""
    found = known.get(key)
    if found is None:
        return key.replace("-", " ")
    return found.fr if language == "fr" else found.en
