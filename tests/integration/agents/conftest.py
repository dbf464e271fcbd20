from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.scenes import Scene, open_scene


@pytest.fixture
async def scene(kafka: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A new class, followed from now on."""
    async with open_scene(kafka, tmp_path) as made:
        yield made
