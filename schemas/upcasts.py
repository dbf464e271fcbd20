"""Old versions of messages, brought to the present one, so that readers know only the present.

An up-cast takes the decoded fields of one version and returns the name and the fields of the next:
`{"task-held.v1": lambda fields: ("task-held.v2", fields | {"cause": "unknown"})}`. A chain is followed to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: Fields of one version to name and fields of the next.
Upcast = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]


def _with_defaults(name: str) -> Upcast:
    """The next version only adds fields, and what their absence meant is their default."""
    return lambda fields: (name, fields)


#: By schema name of the old version.
UPCASTS: Mapping[str, Upcast] = {
    "task-submitted.v1": _with_defaults("task-submitted.v2"),
    "task-started.v1": _with_defaults("task-started.v2"),
    "task-completed.v1": _with_defaults("task-completed.v2"),
    "task-released.v1": _with_defaults("task-released.v2"),
}
