"""Whether the process lives, whether tasks can run, and how each part is: looked at once in two seconds at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.coalesced import Coalesced
from api.ports import ApiSettings, Broker, ReadModel
from api.problems import NOT_READY, Problem
from api.routing import resource
from api.views import ComponentView, HealthView, json_response
from api.watermark import Watermark
from domain.errors import PenstockError
from streams import intake, topics
from streams.cluster import Offsets
from streams.log import LogUnavailable
from streams.ports import ReadModelUnavailable

AGE_SECONDS_MAX = 2.0
#: Without these no task runs; intake serves outsiders and held work only.
NOT_NEEDED = frozenset({"intake"})
READY, NOT = "ready", "not-ready"


class Health:
    """Looks at the parts, and remembers how far the projector was, to see whether it moves."""

    def __init__(self, settings: ApiSettings, broker: Broker, read_model: ReadModel, watermark: Watermark) -> None:
        self._settings = settings
        self._broker = broker
        self._read_model = read_model
        self._watermark = watermark
        self._look = Coalesced(self._looked)
        self._seen: tuple[float, Mapping[str, ComponentView]] | None = None
        self._positions: Offsets = {}
        self._moved_at = time.monotonic()

    def routes(self) -> list[Route]:
        """The paths; see `api.openapi` for their description."""
        return [
            resource("/health", GET=self.alive),
            resource("/ready", GET=self.ready),
            resource("/api/v1/system/health", GET=self.system),
        ]

    async def alive(self, _: Request) -> Response:
        """200: this process answers."""
        return json_response(ComponentView(status="up", detail=f"penstock {self._settings.version}"))

    async def ready(self, _: Request) -> Response:
        """200 when tasks can run, else a problem that names what is missing."""
        view = await self._view()
        if view.status != READY:
            down = {name: part.detail for name, part in view.components.items() if _missing(name, part)}
            detail = "; ".join(f"{name}: {what}" for name, what in down.items())
            raise Problem(NOT_READY, detail, retry_after_seconds=2, missing=list(down))
        return json_response(view)

    async def system(self, _: Request) -> Response:
        """200 always: how each part is."""
        return json_response(await self._view())

    async def _view(self) -> HealthView:
        if self._seen is None or time.monotonic() - self._seen[0] > AGE_SECONDS_MAX:
            await self._look()
        assert self._seen is not None, "it was looked at just now"
        components = dict(self._seen[1])
        missing = any(_missing(name, part) for name, part in components.items())
        return HealthView(status=NOT if missing else READY, version=self._settings.version, components=components)

    async def _looked(self) -> None:
        agents, projector = await asyncio.gather(self._groups(), self._projector())
        self._seen = (time.monotonic(), agents | projector)

    async def _groups(self) -> dict[str, ComponentView]:
        """The log, and who works on it, by the broker's word on consumer groups."""
        classes = self._settings.classes if self._settings.ready_classes is None else self._settings.ready_classes
        groups = [f"agents-{name}" for name in classes]
        try:
            members = await self._broker.members([*groups, intake.GROUP])
            lags = [await self._broker.lag(f"agents-{name}", topics.class_topics(name)) for name in classes]
            lags.append(await self._broker.lag(intake.GROUP, [topics.INTAKE]))
        except LogUnavailable as error:
            unseen = _down("unknown while the log cannot be reached")
            return {"log": _down(str(error)), **dict.fromkeys((*groups, intake.GROUP), unseen)}
        parts = {"log": ComponentView(status="up")}
        for group, lag in zip((*groups, intake.GROUP), lags, strict=True):
            count = members[group]
            up = ComponentView(status="up", detail=f"{count} member{'s' * (count != 1)}", lag=lag)
            parts[group] = up if count else ComponentView(status="down", detail="no process is at work", lag=lag)
        return parts

    async def _projector(self) -> dict[str, ComponentView]:
        try:
            progress = await self._read_model.progress()
        except ReadModelUnavailable as error:
            return {"database": _down(str(error)), "projector": _down("unknown while the database cannot be reached")}
        database = ComponentView(status="up")
        try:
            positions, lag = await self._watermark.behind()
        except PenstockError as error:
            return {"database": database, "projector": _down(f"cannot be judged: {error}")}
        now = time.monotonic()
        if positions != self._positions or not lag:
            self._positions, self._moved_at = positions, now
        silence = timedelta(seconds=self._settings.stall_seconds_max)
        if progress is None or datetime.now(UTC) - progress.seen_at > silence:
            return {"database": database, "projector": _down("no sign of life", lag)}
        if now - self._moved_at > self._settings.stall_seconds_max:
            return {"database": database, "projector": _down("stalled: behind, and not moving", lag)}
        return {"database": database, "projector": ComponentView(status="up", lag=lag)}


def _down(detail: str, lag: int | None = None) -> ComponentView:
    return ComponentView(status="down", detail=detail, lag=lag)


def _missing(name: str, part: ComponentView) -> bool:
    return part.status != "up" and name not in NOT_NEEDED
