"""Which environment variable may be sent to which address. Pure.

Whoever may define a provider names a variable and an address; this is what keeps the one from being sent to any other.
An address is an origin: scheme, host and port, compared after the normalization of the URL standard, so that there is
one way to write it. `https` and its port are understood where none is written.

Source: https://url.spec.whatwg.org/#origin
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Self

from pydantic import HttpUrl, TypeAdapter, ValidationError

from schemas.models import ModelDefinition, ProviderDefinition

#: Stands for 127.0.0.0/8, ::1 and localhost, by either scheme and at any port.
LOOPBACK: Final = "loopback"
#: Stands for every variable whose name says that it holds a key for somebody's API, and nothing more precious.
ANY: Final = "*"
#: Before the name of a plug-in that knows its address itself.
PROTOCOL: Final = "protocol:"
#: The setting that holds the grants, and the variable that it is read from.
SETTING: Final = "provider_keys (PENSTOCK_PROVIDER_KEYS)"

#: What holds unless the settings say otherwise.
WELL_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    ANY: (LOOPBACK,),
    "ANTHROPIC_API_KEY": ("api.anthropic.com",),
    "DASHSCOPE_API_KEY": ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"),
    "DEEPSEEK_API_KEY": ("api.deepseek.com",),
    "GEMINI_API_KEY": ("generativelanguage.googleapis.com",),
    "GROQ_API_KEY": ("api.groq.com",),
    "KIMI_API_KEY": ("api.moonshot.cn", "api.moonshot.ai"),
    "MISTRAL_API_KEY": ("api.mistral.ai",),
    "MOONSHOT_API_KEY": ("api.moonshot.cn", "api.moonshot.ai"),
    "OPENAI_API_KEY": ("api.openai.com", "eu.api.openai.com", "us.api.openai.com"),
    "OPENROUTER_API_KEY": ("openrouter.ai",),
    "QWEN_API_KEY": ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"),
}

_URL: Final[TypeAdapter[HttpUrl]] = TypeAdapter(HttpUrl)
_PLUG_IN: Final = re.compile(rf"{PROTOCOL}[A-Za-z0-9_.-]+")
#: Words of names whose keys open more than an account at a provider.
_PRECIOUS: Final = frozenset(
    {
        *("PENSTOCK", "KAFKA", "DATABASE", "DB", "PG", "POSTGRES", "POSTGRESQL", "REDIS"),
        *("SECRET", "PRIVATE", "ENCRYPTION", "SIGNING", "SESSION", "COOKIE", "JWT"),
        *("ACCESS", "ADMIN", "ROOT", "MASTER", "HOST", "DEPLOY"),
        *("AWS", "AZURE", "GCP", "SSH", "TLS", "SSL", "GPG"),
    }
)


@dataclass(frozen=True, slots=True)
class Sent:
    """One variable of a definition, and where it would be sent."""

    variable: str
    #: An origin, or `protocol:` and the name of a plug-in.
    address: str
    #: Into the definition, as RFC 6901 has it.
    pointer: str

    @property
    def refusal(self) -> str:
        """Why it is not sent, and what to do where it should be."""
        return f"{self.variable} may not be sent to {self.address}: list that address for it in {SETTING}"


@dataclass(frozen=True, slots=True)
class KeyGrants:
    """The grants of one installation. Case does not count in a variable's name, as it does not in settings."""

    #: Normalized addresses by variable, in capitals; ANY among the variables, LOOPBACK among the addresses.
    addresses: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, granted: Mapping[str, Iterable[str]]) -> Self:
        """The grants as the settings write them.

        Raises:
            ValueError: an address cannot be read; says which.
        """
        return cls({variable.upper(): frozenset(map(address, each)) for variable, each in granted.items()})

    def adding(self, sent: Iterable[Sent]) -> KeyGrants:
        """These, and all that is sent so."""
        more = dict(self.addresses)
        for each in sent:
            name = each.variable.upper()
            more[name] = more.get(name, frozenset()) | {each.address}
        return KeyGrants(more)

    def allows(self, variable: str, destination: str) -> bool:
        """Whether the variable may be sent to an address that `address` or `origin` has made."""
        name = variable.upper()
        granted = self.addresses.get(name, frozenset())
        if _holds_a_key(name):
            granted |= self.addresses.get(ANY, frozenset())
        return destination in granted or (LOOPBACK in granted and _is_loopback(destination))

    def refused(self, sent: Iterable[Sent]) -> Iterator[Sent]:
        """What of it may not be sent."""
        return (each for each in sent if not self.allows(each.variable, each.address))


def address(written: str) -> str:
    """An address as the settings write it: an origin, whose `https://` may be left out, LOOPBACK, or a plug-in's name.

    Raises:
        ValueError: it is none of these, or holds more than an origin.
    """
    if written == LOOPBACK or _PLUG_IN.fullmatch(written):
        return written
    try:
        url = _URL.validate_python(written if "://" in written else f"https://{written}")
    except ValidationError as error:
        raise ValueError(f"{written!r} is no address: write host, host:port or http://host:port") from error
    if (url.path or "/") != "/" or url.query or url.fragment or url.username or url.password or "*" in written:
        raise ValueError(f"{written!r} is more than an address: write host, host:port or http://host:port")
    return origin(url)


def origin(url: HttpUrl) -> str:
    """Scheme, host and port of a URL; the port is left out where it is the scheme's own."""
    assert url.host, "a URL of http or https has a host"
    port = "" if (url.scheme, url.port) in (("https", 443), ("http", 80)) else f":{url.port}"
    return f"{url.scheme}://{url.host}{port}"


def destination(provider: ProviderDefinition | None, base_url: HttpUrl | None) -> str:
    """Where a provider's calls go: to the address of one instance, else to its own, else wherever its plug-in goes."""
    url = base_url or (provider.base_url if provider is not None else None)
    if url is not None:
        return origin(url)
    assert provider is not None, "an instance without a provider has an address"
    return f"{PROTOCOL}{provider.protocol}"


def sent_by_provider(provider: ProviderDefinition) -> Iterator[Sent]:
    """Every variable that a provider's definition names, and where it would be sent."""
    where = destination(provider, None)
    named = {"/api_key": provider.api_key, **{f"/headers/{name}": value for name, value in provider.headers.items()}}
    for pointer, reference in named.items():
        if (variable := variable_of(reference)) is not None:
            yield Sent(variable, where, pointer)


def sent_by_model(model: ModelDefinition, provider: ProviderDefinition | None) -> Iterator[Sent]:
    """Every variable that would be sent to the instances that a model's definition names: theirs and the account's."""
    headers = provider.headers.values() if provider is not None else ()
    for number, replica in enumerate(model.replicas):
        if replica.base_url is not None:
            key = replica.api_key or (provider.api_key if provider is not None else None)
            for variable in filter(None, map(variable_of, (key, *headers))):
                yield Sent(variable, origin(replica.base_url), f"/replicas/{number}")


def variable_of(reference: str | None) -> str | None:
    """The variable that `env:NAME` refers to; None: it is no reference."""
    return reference.removeprefix("env:") if reference is not None and reference.startswith("env:") else None


def _holds_a_key(name: str) -> bool:
    words = name.replace("APIKEY", "API_KEY").split("_")
    return len(words) > 1 and words[-1] == "KEY" and _PRECIOUS.isdisjoint(words)


def _is_loopback(destination: str) -> bool:
    if destination.startswith(PROTOCOL):
        return False
    host = _URL.validate_python(destination).host or ""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
