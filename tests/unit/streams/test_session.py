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
    """Answers with an error code, after a while."""

    def __init__(self) -> None:
        self.now = 100.0
        self.code = 0
        self.takes_seconds = 0.0
        self.session = Session(TIMEOUT_SECONDS, lambda: self.now)
        self.session.watch(self)

    async def _send_req(self, request: Any) -> Any:
        self.now += self.takes_seconds
        return SimpleNamespace(error_code=self.code)


async def test_nothing_is_certain_before_the_first_answer() -> None:
    assert not Coordinator().session.certain


@pytest.mark.parametrize("request_", [HEARTBEAT, SYNC])
@pytest.mark.parametrize("code", [0, REBALANCE_IN_PROGRESS])
async def test_a_confirmed_sign_of_life_is_certain_for_less_than_a_session(request_: Any, code: int) -> None:
    coordinator = Coordinator()
    coordinator.code = code
    await coordinator._send_req(request_)
    coordinator.now += CERTAIN_SECONDS - 0.1
    assert coordinator.session.certain
    coordinator.now += 0.2
    assert not coordinator.session.certain


async def test_it_counts_from_when_it_was_sent() -> None:
    """The answer may have waited for a process that stood still."""
    coordinator = Coordinator()
    coordinator.takes_seconds = TIMEOUT_SECONDS
    await coordinator._send_req(HEARTBEAT)
    assert not coordinator.session.certain


@pytest.mark.parametrize(("request_", "code"), [(HEARTBEAT, UNKNOWN_MEMBER), (LeaveGroupRequest("group", "member"), 0)])
async def test_what_confirms_nothing(request_: Any, code: int) -> None:
    coordinator = Coordinator()
    coordinator.code = code
    await coordinator._send_req(request_)
    assert not coordinator.session.certain
