"""Checkpoints in the log: the state that a handler left, as text, or where it lies when it is large."""

from __future__ import annotations

import json
from typing import Any

from agents.artifacts import ArtifactStore

#: A longer JSON text goes to the artifact store: relocations carry the text along.
CHECKPOINT_BYTES_MAX = 64 * 1024
_STORED = "penstock_artifact"


async def bounded(text: str, artifacts: ArtifactStore) -> str:
    """The text itself, or one that says where it is stored."""
    content = text.encode()
    if len(content) <= CHECKPOINT_BYTES_MAX:
        return text
    artifact = await artifacts.put(content, "application/json")
    return json.dumps({_STORED: artifact.uri})


async def loaded(text: str | None, artifacts: ArtifactStore) -> Any:
    """The state that was left; None where none was.

    Raises:
        TaskError: it is stored, and cannot be had.
    """
    if text is None:
        return None
    state = json.loads(text)
    if isinstance(state, dict) and state.keys() == {_STORED}:
        state = json.loads(await artifacts.get(state[_STORED]))
    return state
