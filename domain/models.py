"""Which models a door knows, and where work for each of them meets. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.errors import Flaw, InvalidSubmission
from schemas.models import AUTO, ModelDefinition

#: Where work meets that names no model, when the settings name one endpoint or file for all.
DEFAULT_KEY = "default"


@dataclass(frozen=True, slots=True)
class DeclaredModels:
    """The models that somebody defined. For a class without any, every name is as good as another."""

    models: Mapping[str, ModelDefinition] = field(default_factory=dict)
    #: What a task asks for that names none; None: the endpoint or the file of the settings.
    default: str | None = None
    #: The name by which the endpoint or the file of the settings may be asked for too.
    of_settings: str | None = None

    def target(self, model: str | None, resource_class: str) -> tuple[str | None, str]:
        """The model that a task asks for, and its routing key. Work for `auto` meets until it is routed.

        Raises:
            InvalidSubmission: models of the class are defined, and this one is not.
        """
        asked = model or self.default
        if not self._of(resource_class):
            return model, model or DEFAULT_KEY
        if asked is None or asked == self.of_settings:
            return asked, DEFAULT_KEY
        if asked == AUTO:
            return asked, AUTO
        self._check(asked, resource_class, "/model")
        return asked, self.models[asked].routing_key

    def check_fallbacks(self, fallbacks: Sequence[str], resource_class: str) -> None:
        """See that a chain can be followed.

        Raises:
            InvalidSubmission: models of the class are defined, and one of these is not.
        """
        if self._of(resource_class):
            for number, name in enumerate(fallbacks):
                if name != AUTO:
                    self._check(name, resource_class, f"/fallbacks/{number}")

    def _check(self, name: str, resource_class: str, pointer: str) -> None:
        known = self.models.get(name)
        if known is None:
            names = ", ".join([*sorted(self._of(resource_class)), AUTO])
            raise InvalidSubmission([Flaw(pointer, f"there is no model {name!r}; there are: {names}")])
        if known.resource_class != resource_class:
            detail = f"{name} is a model of class {known.resource_class}, the task is of class {resource_class}"
            raise InvalidSubmission([Flaw(pointer, detail)])

    def _of(self, resource_class: str) -> list[str]:
        return [name for name, model in self.models.items() if model.resource_class == resource_class]
