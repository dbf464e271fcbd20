"""Which addresses tasks may call."""

from __future__ import annotations

import pytest

from agents.handlers.http_policy import refusal


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "8.8.8.8"])
@pytest.mark.parametrize("allow_private", [True, False])
def test_public_addresses_are_always_open(address: str, allow_private: bool) -> None:
    assert refusal(address, allow_private=allow_private) is None


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::a9fe:a9fe",
        "224.0.0.1",
        "ff02::1",
        "0.0.0.0",  # noqa: S104 - nothing is bound to it
        "0.1.2.3",
        "::",
    ],
)
def test_metadata_and_other_special_addresses_are_never_open(address: str) -> None:
    assert refusal(address, allow_private=True) is not None


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "fec0::1",
     "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
)  # fmt: skip
def test_private_networks_are_open_by_setting_only(address: str) -> None:
    assert refusal(address, allow_private=True) is None
    assert refusal(address, allow_private=False) is not None


@pytest.mark.parametrize("address", ["255.255.255.255", "240.0.0.1", "192.0.2.1", "2001:db8::1"])
def test_addresses_of_nobody_are_closed_to_those_who_may_call_the_public_only(address: str) -> None:
    assert refusal(address, allow_private=False) is not None
