"""Which variable may be sent where: what is not granted is refused, however the address is written."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import HttpUrl, ValidationError

from domain.key_grants import (
    ANY,
    LOOPBACK,
    WELL_KNOWN,
    KeyGrants,
    address,
    destination,
    origin,
    sent_by_model,
    sent_by_provider,
)
from schemas.models import PRESETS, ModelDefinition, ProviderDefinition

GRANTS = KeyGrants.of(WELL_KNOWN)
OPENAI = "https://api.openai.com"
#: Parts of URLs that parsers have been known to read in more than one way.
PIECES = [
    *(
        "api.openai.com",
        "evil.example",
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0x7f.1",
        "2130706433",
    ),
    *("@", ":", "/", "\\", "#", "?", ".", "..", "%40", "%2e", "%2F", ":443", ":80", ":8443", "user:pw@", "\t", " "),
    *(
        "\uff0e",
        "\u3002",
        "\u2024",
        "\uff20",
        "\u0430pi.openai.com",
        "xn--pi-6kc.openai.com",
        "API.OpenAI.COM",
        "\u00df",
    ),
]
URLS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["https://", "http://", "https:", "https:/", "https:\\\\", "HTTPS://"]),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join),
    st.sampled_from(["", "/", "/v1", "/v1?a=b", "/..//evil.example"]),
)


def allowed(variable: str, url: str, grants: KeyGrants = GRANTS) -> bool:
    return grants.allows(variable, origin(HttpUrl(url)))


@given(URLS)
def test_the_client_goes_where_the_grant_was_looked_up_for(written: str) -> None:
    """The rule and the HTTP client read the address in one way, so that no trick lies between them."""
    try:
        url = HttpUrl(written)
    except ValidationError:
        return
    asked = httpx.URL(str(url))
    port = {"http": 80, "https": 443}[asked.scheme] if asked.port is None else asked.port
    host = asked.raw_host.decode()
    assert (asked.scheme, host, port) == (url.scheme, (url.host or "").strip("[]"), url.port)


@given(URLS)
def test_a_well_known_key_goes_to_its_host_or_nowhere(written: str) -> None:
    only = KeyGrants.of({"OPENAI_API_KEY": ["api.openai.com"]})
    try:
        url = HttpUrl(written)
    except ValidationError:
        return
    granted = only.allows("OPENAI_API_KEY", origin(url))
    assert granted == ((url.scheme, url.host, url.port) == ("https", "api.openai.com", 443))


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com@evil.example/v1",
        "https://api.openai.com:443@evil.example/v1",
        "https://evil.example/@api.openai.com",
        "https://evil.example\\@api.openai.com/",
        "https://api.openai.com.evil.example/",
        "https://api.openai.com%2eevil.example/",
        "https://api.openai.com./v1",
        "https://\u0430pi.openai.com/v1",
        "https://xapi.openai.com/v1",
        "https://openai.com/v1",
        "https://api.openai.com:8443/v1",
        "http://api.openai.com/v1",
        "http://api.openai.com:443/v1",
        "https://0.0.0.0/",
        "https://[::ffff:127.0.0.1]/",
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://localhost./",
        "http://127.0.0.1@evil.example/",
        "http://169.254.169.254/",
    ],
)
def test_tricks(url: str) -> None:
    assert not allowed("OPENAI_API_KEY", url)


@pytest.mark.parametrize(
    "url", ["https://api.openai.com/v1", "HTTPS://API.OPENAI.COM:443", "https://u:p@api.openai.com/"]
)
def test_one_address_may_be_written_in_several_ways(url: str) -> None:
    assert allowed("OPENAI_API_KEY", url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "https://127.9.9.9/", "http://[::1]:1/", "http://LOCALHOST/", "http://0x7f.1/"]
)
@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "HOUSE_KEY", "house_key", "ACME_APIKEY"])
def test_keys_go_to_this_machine(url: str, variable: str) -> None:
    assert allowed(variable, url)
    assert not allowed(variable, url, KeyGrants.of({**WELL_KNOWN, ANY: ()}))


@pytest.mark.parametrize(
    "variable",
    [
        *(
            "PENSTOCK_LLM__API_KEY",
            "penstock_some_key",
            "DATABASE_URL",
            "PGPASSWORD",
            "KAFKA_BOOTSTRAP_SERVERS",
            "HOME",
        ),
        *(
            "AWS_SECRET_ACCESS_KEY",
            "SECRET_KEY",
            "SSH_PRIVATE_KEY",
            "GITHUB_TOKEN",
            "OPENAI_ADMIN_KEY",
            "KEY",
            "MONKEY",
        ),
    ],
)
def test_what_does_not_look_like_a_providers_key_stays_here_unless_it_is_listed(variable: str) -> None:
    assert not allowed(variable, "http://127.0.0.1:8000")
    assert allowed(variable, "http://127.0.0.1:8000", KeyGrants.of({variable: [LOOPBACK]}))
    assert not allowed(variable, "http://127.0.0.1:8000", KeyGrants.of({variable: ["http://127.0.0.1:8001"]}))


@given(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,30}", fullmatch=True), URLS)
def test_nothing_is_granted_where_nothing_is_written(variable: str, written: str) -> None:
    try:
        url = HttpUrl(written)
    except ValidationError:
        return
    assert not KeyGrants().allows(variable, origin(url))
    assert not KeyGrants.of({"OTHER_KEY": [str(origin(url))]}).allows(variable, origin(url)) or variable == "OTHER_KEY"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("api.openai.com", OPENAI),
        ("API.openai.com:443", OPENAI),
        ("https://api.openai.com/", OPENAI),
        ("http://10.0.0.5:8000", "http://10.0.0.5:8000"),
        ("[::1]:9", "https://[::1]:9"),
        ("m\u00fcnchen.example", "https://xn--mnchen-3ya.example"),
        (LOOPBACK, LOOPBACK),
        ("protocol:smoke", "protocol:smoke"),
    ],
)
def test_addresses_as_operators_write_them(written: str, read: str) -> None:
    assert address(written) == read


@pytest.mark.parametrize(
    "written",
    ["", "https://api.openai.com/v1", "a@b", "*", "*.openai.com", "ftp://h", "h h", "h?x", "h#x", "protocol:!"],
)
def test_what_is_no_address_is_refused_with_words(written: str) -> None:
    with pytest.raises(ValueError, match="address: write host, host:port or http://host:port"):
        address(written)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_may_be_used_as_they_are(preset: str) -> None:
    provider = ProviderDefinition.model_validate({"name": "p", "preset": preset})
    assert list(sent_by_provider(provider))
    assert not list(GRANTS.refused(sent_by_provider(provider)))


def test_an_instance_is_sent_its_own_key_else_the_accounts_and_the_accounts_headers() -> None:
    account = ProviderDefinition.model_validate(
        {
            "name": "p",
            "base_url": "http://h/v1",
            "api_key": "env:A_KEY",
            "headers": {"X-Team": "env:TEAM", "X": "clear"},
        }
    )
    model = ModelDefinition.model_validate(
        {
            "name": "m",
            "provider": "p",
            "replicas": [{"base_url": "http://one:1"}, {"base_url": "http://two:2", "api_key": "env:B_KEY"}],
        }
    )
    sent = {(each.variable, each.address) for each in sent_by_model(model, account)}
    one, two = "http://one:1", "http://two:2"
    assert sent == {("A_KEY", one), ("TEAM", one), ("B_KEY", two), ("TEAM", two)}
    assert [(each.variable, each.pointer) for each in sent_by_provider(account)] == [
        ("A_KEY", "/api_key"),
        ("TEAM", "/headers/X-Team"),
    ]
    assert {destination(account, each.base_url) for each in model.replicas} == {one, two}


def test_what_is_sent_already_can_be_granted_as_it_is() -> None:
    account = ProviderDefinition.model_validate({"name": "p", "base_url": "http://h/v1", "api_key": "env:DATABASE_URL"})
    grants = GRANTS.adding(sent_by_provider(account))
    assert grants.allows("DATABASE_URL", "http://h")
    assert not GRANTS.allows("DATABASE_URL", "http://h")
    assert not grants.allows("DATABASE_URL", "http://h:81")
