"""The W3C trace context that a submitter may hand along."""

from __future__ import annotations

import re

#: Source: W3C Trace Context, section 3.2: version, trace id, parent id, flags; ids of zeros only are invalid.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def valid_traceparent(value: str | None) -> str | None:
    """The trace context as it came, or None where it is none: a broken one is ignored, as its specification asks."""
    return value if value and _TRACEPARENT.fullmatch(value) else None
