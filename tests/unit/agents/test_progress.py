import asyncio
from collections.abc import Mapping
from typing import Any

from agents.context import Progress
from agents.progress import ProgressReports
from streams.log import LogUnavailable
from tests.support.memory_worker import until


class Reports:
    """What was sent, and a door that a test can close."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.door = asyncio.Event()
        self.door.set()
        self.away = False

    async def progress(self, task_id: str, report: Mapping[str, object]) -> None:
        await self.door.wait()
        if self.away:
            raise LogUnavailable("away")
        self.sent.append(report)


async def test_pieces_of_one_moment_are_joined() -> None:
    log = Reports()
    reports = ProgressReports(log, "t", 2)
    for piece in ("a", "b", "c"):
        await reports.progress(Progress(delta=piece, percent=50.0))
    await until(lambda: log.sent)
    await reports.close()
    assert [(one["delta"], one["percent"], one["task_id"], one["attempt"]) for one in log.sent] == [
        ("abc", 50.0, "t", 2)
    ]


async def test_closing_sends_what_is_left_at_once() -> None:
    log = Reports()
    reports = ProgressReports(log, "t", 1)
    await reports.progress(Progress(message="done"))
    await reports.close()
    assert [one["message"] for one in log.sent] == ["done"]


async def test_closing_loses_no_piece_that_is_on_its_way() -> None:
    log = Reports()
    log.door.clear()
    reports = ProgressReports(log, "t", 1)
    await reports.progress(Progress(delta="a"))
    await until(lambda: not reports._joined)
    await reports.progress(Progress(delta="b"))
    closing = asyncio.create_task(reports.close())
    await asyncio.sleep(0)
    log.door.set()
    await closing
    assert [(one["delta"], one["sequence"]) for one in log.sent] == [("a", 1), ("b", 2)]


async def test_a_lost_report_harms_nobody() -> None:
    log = Reports()
    log.away = True
    reports = ProgressReports(log, "t", 1)
    await reports.progress(Progress(percent=1.0))
    await reports.close()
    assert not log.sent


async def test_nothing_is_sent_where_nothing_was_reported() -> None:
    log = Reports()
    reports = ProgressReports(log, "t", 1)
    await reports.close()
    assert not log.sent
