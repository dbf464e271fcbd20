"""A member's own clock tells it that its session may be over before the broker does."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.group import HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest

from streams.session import CERTAIN_SHARE, Session

TIMEOUT_SECONDS = 10.0
CERTAIN_SECONDS = TIMEOUT_SECONDS * CERTAIN_SHARE
HEARTBEAT = HeartbeatRequest("group", 1, "member")
SYNC = SyncGroupRequest("group", 1, "member", None, [])
UNKNOWN_MEMBER, REBALANCE_IN_PROGRESS = 25, 27


class Coordinator:
    """Answers with an error code of the kind of request, after a while."""

    group_id, generation, member_id = "group", 1, "member"

    def __init__(self, *, heartbeat: int = 0, sync: int = 0, takes_seconds: float = 0.0) -> None:
        self.now = 100.0
        self.codes = {HeartbeatRequest: heartbeat, SyncGroupRequest: sync, LeaveGroupRequest: 0}
        self.takes_seconds = takes_seconds
        self.asked: list[type] = []
        self.session = Session(TIMEOUT_SECONDS, lambda: self.now)
        self.session.watch(self)

    async def _send_req(self, request: Any) -> Any:
        self.now += self.takes_seconds
        self.asked.append(type(request))
        return SimpleNamespace(error_code=self.codes[type(request)])


async def test_nothing_is_certain_before_the_first_answer() -> None:
    assert not Coordinator().session.certain


@pytest.mark.parametrize(
    ("coordinator", "request_"),
    [(Coordinator(), SYNC), (Coordinator(), HEARTBEAT), (Coordinator(heartbeat=REBALANCE_IN_PROGRESS), HEARTBEAT)],
)
async def test_a_confirmed_sign_of_life_is_certain_for_less_than_a_session(
    coordinator: Coordinator, request_: Any
) -> None:
    await coordinator._send_req(request_)
    coordinator.now += CERTAIN_SECONDS - 0.1
    assert coordinator.session.certain
    coordinator.now += 0.2
    assert not coordinator.session.certain


async def test_it_counts_from_when_it_was_sent() -> None:
    """The answer may have waited for a process that stood still."""
    coordinator = Coordinator(takes_seconds=TIMEOUT_SECONDS)
    await coordinator._send_req(SYNC)
    assert not coordinator.session.certain


@pytest.mark.parametrize(
    ("coordinator", "request_"),
    [
        (Coordinator(heartbeat=UNKNOWN_MEMBER), HEARTBEAT),
        (Coordinator(sync=REBALANCE_IN_PROGRESS), SYNC),
        (Coordinator(), LeaveGroupRequest("group", "member")),
    ],
)
async def test_what_confirms_nothing(coordinator: Coordinator, request_: Any) -> None:
    await coordinator._send_req(request_)
    assert not coordinator.session.certain


async def test_an_answer_without_one_code_for_all_is_handed_on() -> None:
    """As that to a commit."""
    coordinator = Coordinator()
    answer = SimpleNamespace(topics=[])

    async def committed(_: Any) -> Any:
        return answer

    send = coordinator.session._noting(coordinator, committed)
    assert await send(SimpleNamespace()) is answer
    assert not coordinator.session.certain


async def test_a_heartbeat_that_is_answered_after_the_session_may_have_ended_is_asked_about() -> None:
    """A broker that still loads its groups answers heartbeats blindly; it does not know the member any more."""
    coordinator = Coordinator(sync=REBALANCE_IN_PROGRESS)
    await coordinator._send_req(HEARTBEAT)
    assert not coordinator.session.certain
    coordinator.codes[SyncGroupRequest] = UNKNOWN_MEMBER
    await coordinator._send_req(HEARTBEAT)
    assert not coordinator.session.certain
    coordinator.codes[SyncGroupRequest] = 0
    await coordinator._send_req(HEARTBEAT)
    assert coordinator.session.certain
    del coordinator.asked[:]
    await coordinator._send_req(HEARTBEAT)
    assert coordinator.asked == [HeartbeatRequest]
