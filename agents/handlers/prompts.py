"""The words that models are asked with. Pure.

Instruction-tuned models are told what to do. Base models cannot be told: they only go on with a text, so the text is
arranged such that what should be done is its likely end (tried on a base model of 270 million parameters).
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.engines.text import Message

#: The same sentences in each language: the examples that a base model goes on from.
PARALLEL: dict[str, tuple[str, ...]] = {
    "English": (
        "Good morning, how are you today?",
        "The train leaves at eight o'clock.",
        "Please close the window, it is cold outside.",
        "My sister works in a hospital in the city.",
    ),
    "German": (
        "Guten Morgen, wie geht es Ihnen heute?",
        "Der Zug fährt um acht Uhr ab.",
        "Bitte schließen Sie das Fenster, es ist kalt draußen.",
        "Meine Schwester arbeitet in einem Krankenhaus in der Stadt.",
    ),
    "French": (
        "Bonjour, comment allez-vous aujourd'hui ?",
        "Le train part à huit heures.",
        "Fermez la fenêtre, s'il vous plaît, il fait froid dehors.",
        "Ma sœur travaille dans un hôpital en ville.",
    ),
    "Spanish": (
        "Buenos días, ¿cómo está usted hoy?",
        "El tren sale a las ocho.",
        "Por favor, cierre la ventana, hace frío fuera.",
        "Mi hermana trabaja en un hospital de la ciudad.",
    ),
    "Italian": (
        "Buongiorno, come sta oggi?",
        "Il treno parte alle otto.",
        "Per favore, chiuda la finestra, fuori fa freddo.",
        "Mia sorella lavora in un ospedale in città.",
    ),
    "Portuguese": (
        "Bom dia, como está hoje?",
        "O comboio parte às oito horas.",
        "Por favor, feche a janela, está frio lá fora.",
        "A minha irmã trabalha num hospital na cidade.",
    ),
    "Dutch": (
        "Goedemorgen, hoe gaat het vandaag met u?",
        "De trein vertrekt om acht uur.",
        "Doe alstublieft het raam dicht, het is koud buiten.",
        "Mijn zus werkt in een ziekenhuis in de stad.",
    ),
}
#: ISO 639-1 codes and the names that models know languages by.
LANGUAGES = {
    "ar": "Arabic",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "hi": "Hindi",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ru": "Russian",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "zh": "Chinese",
}


def language_name(language: str) -> str:
    """The English name of a language given by name or by code: `de`, `de-AT` and `german` are `German`."""
    code = language.strip().lower().replace("_", "-").partition("-")[0]
    return LANGUAGES.get(code, language.strip().title())


def summary_messages(text: str, words_max: int) -> list[Message]:
    """Asks an instruction-tuned model for a summary."""
    return [
        Message(
            role="system",
            content=f"You summarize texts in at most {words_max} words, in the language of the text. "
            "Answer with the summary only.",
        ),
        Message(role="user", content=text),
    ]


def summary_prompt(text: str) -> str:
    """A text that a base model ends with a summary, up to the end of the line."""
    return f"{_one_paragraph(text)}\n\nTL;DR:"


def translation_messages(text: str, source_language: str, target_language: str) -> list[Message]:
    """Asks an instruction-tuned model for a translation."""
    return [
        Message(
            role="system",
            content=f"You translate from {source_language} to {target_language}. Answer with the translation only.",
        ),
        Message(role="user", content=text),
    ]


def translation_prompt(text: str, source_language: str, target_language: str) -> str:
    """A text that a base model ends with a translation, up to the end of the line."""
    examples = zip(PARALLEL.get(source_language, ()), PARALLEL.get(target_language, ()), strict=False)
    pairs = [f"{source_language}: {source}\n{target_language}: {target}\n\n" for source, target in examples]
    return "".join(pairs) + f"{source_language}: {_one_paragraph(text)}\n{target_language}:"


def conversation_prompt(messages: Sequence[Message]) -> str:
    """A conversation as a script, which a base model ends with the assistant's next line."""
    lines = [f"{message.role.title()}: {message.content}\n" for message in messages]
    return "".join(lines) + "Assistant:"


def within_words(text: str, words_max: int) -> str:
    """The text cut to so many words, after a whole sentence if there is one."""
    words = text.split()
    if len(words) <= words_max:
        return text
    kept = words[:words_max]
    for index in range(len(kept), 0, -1):
        if kept[index - 1].rstrip("\"')»”").endswith((".", "!", "?")):
            return " ".join(kept[:index])
    return " ".join(kept)


def _one_paragraph(text: str) -> str:
    return " ".join(text.split())
