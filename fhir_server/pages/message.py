"""What an error page says: in words for people, by HTTP status."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """Title and advice of an error page, in French and English."""

    title: tuple[str, str]
    advice: tuple[str, str]


MESSAGES = {
    400: Message(
        ("Demande non comprise", "The request was not understood"),
        ("Vérifiez ce que vous avez saisi, puis recommencez.", "Check what you typed, then try again."),
    ),
    401: Message(
        ("Connexion nécessaire", "Sign in first"),
        ("Connectez-vous pour voir cette page.", "Sign in to see this page."),
    ),
    403: Message(
        ("Accès refusé", "Access refused"),
        (
            "Vous ne pouvez pas faire cela. Si le formulaire était ouvert depuis longtemps, rechargez la page.",
            "You may not do this. If the form had been open for long, load the page again.",
        ),
    ),
    404: Message(
        ("Page introuvable", "Page not found"),
        (
            "Rien ici que vous puissiez voir. Vérifiez l’adresse ou revenez à l’accueil.",
            "Nothing here that you may see. Check the address or go back to the start page.",
        ),
    ),
    405: Message(
        ("Action impossible ici", "This cannot be done here"),
        ("Revenez à la page précédente.", "Go back to the page before."),
    ),
    409: Message(
        ("Cette étape n’est plus possible", "This step is no longer possible"),
        (
            "L’état a changé entre-temps. Rechargez la page et vérifiez avant de recommencer.",
            "The state has changed meanwhile. Load the page again and check before you go on.",
        ),
    ),
    412: Message(
        ("Modifié par quelqu’un d’autre", "Changed by somebody else"),
        (
            "Quelqu’un a modifié ces données pendant que vous les regardiez. Rechargez la page.",
            "Somebody changed these data while you looked at them. Load the page again.",
        ),
    ),
    413: Message(
        ("Formulaire trop grand", "The form is too large"),
        ("Raccourcissez votre texte, puis recommencez.", "Shorten your text, then try again."),
    ),
    415: Message(
        ("Format non accepté", "Format not accepted"),
        ("Utilisez le formulaire de la page.", "Use the form of the page."),
    ),
    422: Message(
        ("Données refusées", "The data were refused"),
        ("Corrigez ce qui est indiqué, puis recommencez.", "Correct what is shown, then try again."),
    ),
    429: Message(
        ("Trop de demandes", "Too many requests"),
        ("Attendez quelques instants, puis recommencez.", "Wait a moment, then try again."),
    ),
    500: Message(
        ("Une erreur est survenue", "Something went wrong"),
        (
            "Ce n’est pas votre faute. Rien n’a été enregistré. Recommencez ; si l’erreur revient, donnez le numéro "
            "ci-dessous à votre équipe technique.",
            "It is not your fault. Nothing was saved. Try again; if it happens again, give the number below to "
            "your technical team.",
        ),
    ),
    503: Message(
        ("Service momentanément indisponible", "The service cannot answer now"),
        ("Rien n’a été enregistré. Recommencez dans quelques instants.", "Nothing was saved. Try again in a moment."),
    ),
}
