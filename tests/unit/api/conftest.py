"""The application on a world in memory."""

from collections.abc import AsyncIterator

import httpx
import pytest

from api.app import create_app
from tests.support.callers import calling
from tests.support.memory_world import MemoryWorld


@pytest.fixture
def world() -> MemoryWorld:
    """A world in which everything works."""
    return MemoryWorld()


@pytest.fixture
async def client(world: MemoryWorld) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of the application."""
    async with calling(create_app(world.deps)) as client:
        yield client
