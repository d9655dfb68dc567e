"""What the details of faults say, in French; the English is that of the fault itself."""

from __future__ import annotations

from typing import Final

FRENCH: Final = {
    "A batch has at most 10000 messages.": "Un lot contient au plus 10 000 messages.",
    "A continuation has the delimiters of the part before it.": "Une suite a les délimiteurs de la partie précédente.",
    "A patient is not merged with itself.": "Un patient ne se fusionne pas avec lui-même.",
    "Another message had this sequence number.": "Un autre message portait ce numéro d’ordre.",
    "Another message has this control id.": "Un autre message porte ce numéro.",
    "Messages before this one are missing.": "Des messages qui précèdent celui-ci manquent.",
    "No channel takes messages of this sender.": "Aucun canal ne prend les messages de cet émetteur.",
    "No message is waiting to be continued so.": "Aucun message n’attend cette suite.",
    "No order is of a kind that is taken.": "Aucune demande n’est d’une sorte prise en charge.",
    "Results have no patient.": "Les résultats n’ont pas de patient.",
    "The appointment has no number.": "Le rendez-vous n’a pas de numéro.",
    "The appointment has no patient.": "Le rendez-vous n’a pas de patient.",
    "The appointment is missing.": "Le rendez-vous est absent.",
    "The bytes are not in the character set that is declared.": "Les octets ne sont pas du jeu de caractères déclaré.",
    "The character set is not known here.": "Ce jeu de caractères est inconnu ici.",
    "The control id is missing.": "Le numéro du message est absent.",
    "The delimiters cannot be told apart.": "Les délimiteurs ne se distinguent pas.",
    "The document has no number.": "Le document n’a pas de numéro.",
    "The earlier number is missing.": "L’ancien numéro est absent.",
    "The file has a second header.": "Le fichier a un second en-tête.",
    "The frame has no end.": "La trame n’a pas de fin.",
    "The message could not be applied.": "Le message n’a pas pu être appliqué.",
    "The message does not begin with MSH.": "Le message ne commence pas par MSH.",
    "The message has more segments than this system takes.": "Le message a trop de segments pour ce système.",
    "The message has no patient.": "Le message n’a pas de patient.",
    "The message has no vaccination.": "Le message n’a pas de vaccination.",
    "The message is about a patient: it has a PID.": "Le message concerne un patient : il lui faut un PID.",
    "The message is about one document: it has one TXA.": "Le message concerne un document : il lui faut un seul TXA.",
    "The message is about one patient: it has one PID.": "Le message concerne un patient : il lui faut un seul PID.",
    "The message is about two patients.": "Le message concerne deux patients.",
    "The message is longer than this system takes.": "Le message est plus long que ce que le système accepte.",
    "The message says what a patient was known by: it has MRG.": "Le message dit l’ancien numéro : il lui faut MRG.",
    "The message says which stay it is about: it has MRG.": "Le message dit de quel séjour : il lui faut MRG.",
    "The message type is missing.": "Le type du message est absent.",
    "The movement has no number.": "Le mouvement n’a pas de numéro.",
    "The movement has no time.": "Le mouvement n’a pas de date.",
    "The movement's action is INSERT, UPDATE or CANCEL.": "L’action du mouvement est INSERT, UPDATE ou CANCEL.",
    "The number of the stay is missing.": "Le numéro du séjour est absent.",
    "The orders are of two patients.": "Les demandes concernent deux patients.",
    "The patient has no identifier.": "Le patient n’a pas d’identifiant.",
    "The patient was merged into another one already.": "Le patient est déjà fusionné avec un autre.",
    "The patient's identifier has no assigning authority.": "L’identifiant du patient n’a pas d’autorité.",
    "The rest of the message did not come.": "La suite du message n’est pas arrivée.",
    "The sequence number is no whole number.": "Le numéro d’ordre n’est pas un entier.",
    "The stay belongs to another patient.": "Le séjour est celui d’un autre patient.",
    "The store does not answer.": "Le stockage ne répond pas.",
    "There are two messages in one frame.": "Il y a deux messages dans une trame.",
    "There is no room for more messages.": "Il n’y a plus de place pour d’autres messages.",
    "What follows it belongs to no message.": "Ce qui le suit n’appartient à aucun message.",
}
"""English -> French; a detail that is not here is shown in English."""


def detail_in(text: str, language: str) -> str:
    """Return the detail of a fault in a language."""
    return FRENCH.get(text, text) if language == "fr" else text
