"""Reading what a caller sends, with its bounds."""

from __future__ import annotations

import re

from starlette.requests import ClientDisconnect, Request

from api.problems import BAD_KEY, TOO_LARGE, UNSUPPORTED, Problem

KEY_CHARACTERS_MAX = 255
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json", re.IGNORECASE)
_KEY = re.compile(r"[\x21-\x7e]+(?: +[\x21-\x7e]+)*")


async def json_body(request: Request, bytes_max: int) -> bytes:
    """The body of a JSON request, not yet parsed.

    Raises:
        Problem: 415 or 413; the bytes are counted as they come, since Content-Length is only a claim.
    """
    _check_media_type(request)
    too_large = Problem(TOO_LARGE, f"the body may have {bytes_max} bytes", bytes_max=bytes_max)
    claimed = request.headers.get("content-length", "")
    if claimed.isdecimal() and len(claimed) < 20 and int(claimed) > bytes_max:
        raise too_large
    chunks, total = [], 0
    try:
        async for chunk in request.stream():
            total += len(chunk)
            if total > bytes_max:
                raise too_large
            chunks.append(chunk)
    except ClientDisconnect:
        raise Problem(TOO_LARGE, "the caller went away before the end of the body") from None
    return b"".join(chunks)


def _check_media_type(request: Request) -> None:
    """A missing type is refused too: a web page of another site can send that without asking the browser."""
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.lower().replace('"', "").replace(" ", "").partition("charset=")[2].partition(";")[0]
    if not _JSON.fullmatch(media_type.strip()) or charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Problem(UNSUPPORTED, "send the body as application/json in UTF-8")
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise Problem(UNSUPPORTED, "send the body without a content encoding")


def idempotency_key(request: Request) -> str | None:
    """The key under which a request may be repeated; quoted, as the draft has it, or bare.

    Source: draft-ietf-httpapi-idempotency-key-header, section 2.1.

    Raises:
        Problem: 400, it is empty, too long or unprintable.
    """
    value = request.headers.get("idempotency-key")
    if value is None:
        return None
    key = value.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not _KEY.fullmatch(key) or len(key) > KEY_CHARACTERS_MAX:
        raise Problem(BAD_KEY, f"an Idempotency-Key has 1 to {KEY_CHARACTERS_MAX} printable ASCII characters")
    return key
