"""What the command line makes of an answer that is none."""

from __future__ import annotations

import httpx
import pytest

from penstock.client import Client
from penstock.errors import RequestFailed


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            httpx.Response(
                422,
                json={
                    "title": "t",
                    "detail": "/: no strategy; /b: too long",
                    "errors": [{"pointer": "", "detail": "x"}],
                },
            ),
            "no strategy; /b: too long",
        ),
        (httpx.Response(404, json={"title": "There is nothing here"}), "There is nothing here"),
        (httpx.Response(502, text="<html>"), "The API answered 502 Bad Gateway."),
        (httpx.Response(500, json=[]), "The API answered 500 Internal Server Error."),
    ],
)
def test_a_refusal_is_said_once(answer: httpx.Response, said: str) -> None:
    transport = httpx.MockTransport(lambda _: answer)
    with httpx.Client(base_url="http://h", transport=transport) as http, pytest.raises(RequestFailed) as caught:
        Client(http).get("/x")
    assert str(caught.value) == said
