"""The models that processes of this worker serve: which they are, and which of them are loaded."""

from __future__ import annotations

from typing import NamedTuple

from agents.engines.local_text import LocalText
from agents.engines.named_text import Named
from agents.engines.replicas import Replicas
from agents.engines.text import TextModel
from agents.engines.text_models import TextModels
from agents.handlers.settings import LlmSettings
from domain.models import DEFAULT_KEY


class LocalModel(NamedTuple):
    """A model, by the one name that it has here."""

    #: `default` for the file of the settings, however tasks call it.
    name: str
    #: What its instances declare to take together; 0: nothing.
    memory_mb: int


class LocalModels:
    """Those among the text models of a worker. For one event loop."""

    def __init__(self, models: TextModels, settings: LlmSettings) -> None:
        self._models, self._settings = models, settings

    def find(self, name: str | None) -> LocalModel | None:
        """What serves tasks that ask for this model; None where that is no process of this worker."""
        if definition := self._models.definition(name):
            instances = sum(each.path is not None for each in definition.replicas) or 1
            return LocalModel(definition.name, instances * (definition.memory_mb or 0)) if definition.local else None
        settings = self._settings
        if self._models.of_settings(name) and settings.base_url is None and settings.model_path is not None:
            return LocalModel(DEFAULT_KEY, settings.memory_mb or 0)
        return None

    def loaded(self, model: str) -> bool:
        """Whether it could answer at once."""
        text = self._models.opened(_asked(model))
        return text is not None and _loaded(text)

    def opened(self, model: str) -> bool:
        """Whether processes of it may be there."""
        return self._models.opened(_asked(model)) is not None

    async def load(self, model: str) -> None:
        """Start it, and return when it answers.

        Raises:
            TaskError: it cannot be started; the next attempt that needs it fails the same way.
        """
        await self._models.get(_asked(model)).text.warm_up()

    async def unload(self, model: str) -> None:
        """End it; returns when its memory is free. It opens again at need."""
        await self._models.shut(_asked(model))


def _asked(model: str) -> str | None:
    return None if model == DEFAULT_KEY else model


def _loaded(text: TextModel) -> bool:
    """Whether its process answers, or one of several does; what is served elsewhere has nothing to load."""
    match text:
        case Named():
            return _loaded(text.text)
        case Replicas():
            return any(map(_loaded, text.texts))
        case LocalText():
            return text.loaded
    return True
