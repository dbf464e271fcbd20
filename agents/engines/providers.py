"""Who speaks to the providers of models. The protocol that nearly all share is built in; others are plug-ins.

A plug-in is an entry point in the group `penstock.providers`: its name is the protocol, and it loads to a `Connect`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points

from pydantic import HttpUrl

from agents.engines.openai_text import OpenAIText
from agents.engines.text import TextModel
from domain import provider_errors as codes
from domain.errors import TaskError
from domain.key_grants import KeyGrants, Sent, destination, variable_of
from schemas.models import ProviderDefinition

ENTRY_POINT_GROUP = "penstock.providers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """All that a plug-in needs to know to serve one model; secrets are looked up already."""

    #: None: the plug-in knows where.
    base_url: str | None
    api_key: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: What the endpoint calls the model.
    model: str
    silence_seconds_max: float = 120.0


#: Makes the port to one model. It connects at first need, raises TaskError with the codes of `domain.provider_errors`,
#: and never retries by itself.
Connect = Callable[[Connection], TextModel]


def connect(connection: Connection, protocol: str) -> TextModel:
    """The port to a model by the protocol that its provider names.

    Raises:
        TaskError: no plug-in speaks it.
    """
    if protocol == "openai":
        return _openai(connection)
    for point in entry_points(group=ENTRY_POINT_GROUP, name=protocol):
        make: Connect = point.load()
        return make(connection)
    detail = f"no plug-in speaks {protocol!r}: install one with an entry point of that name in {ENTRY_POINT_GROUP}"
    raise TaskError(codes.NOT_CONFIGURED, detail)


def connection_to(
    provider: ProviderDefinition | None,
    model: str,
    grants: KeyGrants,
    *,
    base_url: HttpUrl | None = None,
    api_key: str | None = None,
) -> Connection:
    """What is known of a provider; the address and the key of one instance win over the provider's.

    Raises:
        TaskError: a variable that holds a secret is not set, or may not be sent to that address.
    """
    where = destination(provider, base_url)
    if provider is None:
        return Connection(base_url=f"{base_url}", api_key=_secret(api_key, where, grants), model=model)
    url = base_url or provider.base_url
    return Connection(
        base_url=None if url is None else f"{url}",
        api_key=_secret(api_key or provider.api_key, where, grants),
        headers={name: _secret(value, where, grants) or "" for name, value in provider.headers.items()},
        model=model,
        silence_seconds_max=provider.silence_seconds_max,
    )


def _openai(connection: Connection) -> TextModel:
    assert connection.base_url is not None, "definitions of this protocol have an address"
    return OpenAIText(
        connection.base_url,
        model=connection.model,
        api_key=connection.api_key,
        headers=connection.headers,
        silence_seconds_max=connection.silence_seconds_max,
    )


def _secret(reference: str | None, where: str, grants: KeyGrants) -> str | None:
    """The value itself, read when it is used, so that it is stored nowhere."""
    name = variable_of(reference)
    if name is None:
        return reference
    if not grants.allows(name, where):
        # Asked before whether there is such a variable, which is nobody's business either.
        raise TaskError(codes.KEY_REFUSED, Sent(name, where, "").refusal)
    if name not in os.environ:
        raise TaskError(codes.NOT_CONFIGURED, f"the environment variable {name}, which holds a key, is not set")
    return os.environ[name]
