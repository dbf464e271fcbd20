"""The port to whatever hears words in speech. Recognisers run in engine processes, where blocking does no harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from domain.errors import TaskError

#: What recognisers are given: mono, signed 16-bit little-endian, 16 kHz.
SAMPLE_RATE = 16_000
BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word that was heard, in seconds from the start."""

    text: str
    start_seconds: float
    end_seconds: float


class Recogniser(Protocol):
    """Hears one language. One object hears one recording."""

    def hear(self, audio: Iterator[bytes]) -> list[Word]:
        """The words of a recording, in order, given as pieces of any length (format above)."""
        ...


#: Makes a recogniser for one recording; called in the engine process, so heavy imports belong inside.
RecogniserFactory = Callable[[], Recogniser]

_factories: dict[str, RecogniserFactory] = {}


def register_recogniser(language: str, factory: RecogniserFactory) -> None:
    """Use the factory for a language (ISO 639-1 code), in place of any other.

    Called at import by a module that the setting `handlers` lists, so that engine processes know it too.
    """
    _factories[language] = factory


def recogniser_for(language: str) -> Recogniser:
    """A recogniser for the language.

    Raises:
        TaskError: `language_unsupported`; names those that are.
    """
    if language not in languages():
        raise TaskError(
            "language_unsupported",
            f"no speech recogniser for {language!r}; there is one for: {', '.join(languages())}. "
            "Others can be registered (agents.engines.speech.register_recogniser)",
        )
    return _factories.get(language, _pocketsphinx)()


def languages() -> list[str]:
    """Codes of the languages that can be heard here, sorted."""
    return sorted({"en", *_factories})


def _pocketsphinx() -> Recogniser:
    from agents.engines.pocketsphinx_speech import PocketsphinxRecogniser

    return PocketsphinxRecogniser()
