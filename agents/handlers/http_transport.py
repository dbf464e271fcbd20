"""An HTTP transport that connects only to addresses which the policy has seen.

The name is resolved once, every address of it judged, and the connection made to one of those: a name that points
elsewhere a moment later gains nothing. Each redirect comes through here as well.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import httpx

from agents.handlers.http_policy import refusal
from domain.errors import TaskError

#: From host and port to IP addresses, best first.
Resolver = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """The host's addresses, as the operating system orders them.

    Raises:
        httpx.ConnectError: the name has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"cannot resolve {host!r}: {error}") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class GuardedTransport(httpx.AsyncBaseTransport):
    """Judges, then sends. Certificates are checked against the name, not the address."""

    def __init__(self, inner: httpx.AsyncBaseTransport, *, allow_private: bool, resolver: Resolver = resolve) -> None:
        self._inner, self._allow_private, self._resolver = inner, allow_private, resolver

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request.

        Raises:
            TaskError: `address_refused`, if any address of the host is.
            httpx.ConnectError: no address of the host answers.
        """
        host = request.url.host
        addresses = await self._resolver(host, request.url.port or {"https": 443}.get(request.url.scheme, 80))
        for address in addresses:
            reason = refusal(address, allow_private=self._allow_private)
            if reason is not None:
                raise TaskError("address_refused", f"{host} is {address}, which is {reason}; it may not be called")
        # The Host header was made from the URL's name and stays as it is.
        extensions = {**request.extensions, "sni_hostname": host}
        for address in addresses:
            guarded = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions=extensions,
            )
            try:
                return await self._inner.handle_async_request(guarded)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == addresses[-1]:
                    raise
        raise httpx.ConnectError(f"{host!r} has no address")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
