"""Which addresses tasks may call. Pure: names are resolved elsewhere.

A task's URL comes from whoever may submit tasks, and the call comes from inside our network. Cloud metadata services
hand out credentials to whoever asks from the right place, so no setting opens those.

Source: IANA IPv4 and IPv6 Special-Purpose Address Registries; RFC 6052 (NAT64), RFC 3056 (6to4).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

#: Metadata services that lie outside the link-local networks.
_METADATA = frozenset(
    {
        ip_address("100.100.100.200"),  # Alibaba Cloud
        ip_address("192.0.0.192"),  # Oracle Cloud, classic
        ip_address("168.63.129.16"),  # Azure's host agent
        ip_address("fd00:ec2::254"),  # Amazon
        ip_address("fd20:ce::254"),  # Google
    }
)
_CARRIER_GRADE_NAT = ip_network("100.64.0.0/10")
_NAT64 = ip_network("64:ff9b::/96")
_SITE_LOCAL = ip_network("fec0::/10")


def refusal(address: str, *, allow_private: bool) -> str | None:
    """Why the IP address may not be called; None if it may."""
    ip = _innermost(ip_address(address.partition("%")[0]))
    if ip in _METADATA:
        return "a cloud metadata service"
    if ip.is_link_local:
        return "link-local, where cloud metadata services are"
    if ip.is_multicast:
        return "multicast"
    if ip.is_unspecified or (isinstance(ip, IPv4Address) and ip in ip_network("0.0.0.0/8")):
        return "no address of a host"
    if not ip.is_loopback and not ip.is_private and ip.is_reserved:
        return "reserved"
    if allow_private:
        return None
    if ip.is_loopback:
        return "loopback"
    if ip.is_private or ip in _CARRIER_GRADE_NAT or ip in _SITE_LOCAL or not ip.is_global:
        return "in a private network"
    return None


def _innermost(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address leads to, if it is of a kind that does."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    # The deprecated ::a.b.c.d; `::` and `::1` are addresses of their own.
    return IPv4Address(int(ip)) if 1 < int(ip) < 2**32 else ip
