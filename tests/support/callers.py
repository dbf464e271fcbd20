"""Calling an ASGI application without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette

from api.problems import MEDIA_TYPE, TYPE_PREFIX


@asynccontextmanager
async def calling(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running application; an error that escapes the application escapes the call."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://door") as client,
    ):
        yield client


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The body of a problem, after a look at its outside."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    body: dict[str, Any] = response.json()
    assert body["type"] == TYPE_PREFIX + kind
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body
