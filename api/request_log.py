"""A request id for every request, and one structured line about each."""

from __future__ import annotations

import logging
import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems

HEADER = "x-request-id"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._~:@/+=-]{1,128}")
#: Asked every few seconds by supervisors; while something is down they would fill the log.
PROBES = frozenset({"/health", "/ready"})


class RequestLog:
    """Takes the caller's X-Request-ID, or makes one; answers with it and binds it to every log line in between.

    Being outermost, it also turns what nobody foresaw into a problem that carries the id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.stdlib.get_logger("penstock.api.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _ACCEPTABLE.fullmatch(given) else str(uuid.uuid4())
        began = time.perf_counter()
        status: int | None = None

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, answer)
            except Exception as error:
                if status is not None:
                    raise  # the answer has begun: all that is left is to break it off
                await problems.response(problems.translated(error))(scope, receive, answer)
            finally:
                self._log.log(
                    logging.DEBUG if scope["path"] in PROBES else logging.INFO,
                    "request",
                    action="request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    milliseconds=round((time.perf_counter() - began) * 1000, 1),
                )
