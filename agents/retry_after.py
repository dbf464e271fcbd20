"""The Retry-After header: how long a server asks us to stay away."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """What an answer's headers ask for, in seconds from `now` (aware); the names of the headers are in lower case.

    Source: OpenAI and Azure send `retry-after-ms` beside the header of the standard, which is whole seconds.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    return parse_retry_after(headers.get("retry-after"), now)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from `now` (aware), never below 0; None for a header that is absent or makes no sense.

    Source: RFC 9110, section 10.2.3: a number of seconds, or an HTTP date. Some send fractions of seconds.
    """
    if value is None:
        return None
    text = value.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    # RFC 9110 dates are GMT, whether or not they say so.
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
