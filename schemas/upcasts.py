"""Old versions of messages, brought to the present one, so that readers know only the present.

An up-cast takes the decoded fields of one version and returns the name and the fields of the next:
`{"task-held.v1": lambda fields: ("task-held.v2", fields | {"cause": "unknown"})}`. A chain is followed to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: Fields of one version to name and fields of the next.
Upcast = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]

#: By schema name of the old version. Empty while every message is at its first version.
UPCASTS: Mapping[str, Upcast] = {}
