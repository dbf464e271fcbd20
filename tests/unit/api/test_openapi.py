"""The OpenAPI document, held to the specification, to the routes, and to what is accepted and answered."""

import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from api import problems
from api.app import create_app
from tests.support.callers import calling
from tests.support.memory_world import MemoryWorld

PATH = "/api/v1/tasks"
ECHO = {"type": "echo", "payload": {"text": "hello"}}


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    """The document as callers get it."""
    answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def validator(document: dict[str, Any], name: str) -> Draft202012Validator:
    """Checks values against a schema of the document."""
    return Draft202012Validator(document | {"$ref": f"#/components/schemas/{name}"})


def test_it_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_route_is_described_and_every_description_is_a_route(
    document: dict[str, Any], world: MemoryWorld
) -> None:
    routes = create_app(world.deps).routes
    served = {
        (route.path.replace(":path}", "}"), method.lower())
        for route in routes
        if isinstance(route, Route) and route.path not in ("/openapi.json", "/docs")
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = {(path, method) for path, operations in document["paths"].items() for method in operations}
    assert described == served


def test_every_registered_type_has_its_payload_schema(document: dict[str, Any]) -> None:
    submission = document["components"]["schemas"]["Submission"]
    assert set(submission["discriminator"]["mapping"]) == {"echo", "fetch", "chat"}
    check = validator(document, "Submission")
    assert check.is_valid(ECHO)
    assert check.is_valid(ECHO | {"priority": "high", "timeout": "5m", "max_retries": 0})
    for wrong in (
        {"type": "echo"},
        {"type": "echo", "payload": {"times": 1}},
        {"type": "fetch", "payload": {"url": "x", "more": 1}},
        {"type": "nobody", "payload": {}},
        ECHO | {"colour": "red"},
        ECHO | {"priority": 4},
    ):
        assert not check.is_valid(wrong), wrong


async def test_answers_are_as_described(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    accepted = await client.post(PATH, json=ECHO)
    address = accepted.headers["location"]
    for answer, name in [
        (accepted, "AcceptedView"),
        (await client.get(address), "TaskView"),
        (await client.get(address + "/history"), "HistoryView"),
        (await client.get(PATH), "TaskListView"),
        (await client.get("/ready"), "HealthView"),
        (await client.get("/health"), "ComponentView"),
        (await client.get(PATH + "/nobody"), "Problem"),
        (await client.post(PATH, json={}), "Problem"),
    ]:
        validator(document, name).validate(answer.json())


def test_the_kinds_of_problem_have_types_of_their_own() -> None:
    assert len({kind.type for kind in problems.KINDS}) == len(problems.KINDS)
    named = {value for value in vars(problems).values() if isinstance(value, problems.Kind)} - {problems.OTHER}
    assert named == set(problems.KINDS)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        self.anchors.add(values.get("id") or "")
        self.targets |= {value for name, value in attrs if name in ("href", "src") and value}


async def test_the_page_for_people_needs_no_network(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    answer = await client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    links = _Links()
    links.feed(answer.text)
    assert not links.tags & {"script", "link", "img", "iframe"}
    assert not re.search(r"https?://", answer.text)
    assert {target[1:] for target in links.targets if target.startswith("#")} <= links.anchors
    for path in document["paths"]:
        assert path in answer.text


async def test_the_page_escapes_what_it_shows() -> None:
    world = MemoryWorld(version="<script>alert(1)</script>")
    async with calling(create_app(world.deps)) as client:
        assert "<script>" not in (await client.get("/docs")).text


async def test_answers_of_the_control_routes_are_as_described() -> None:
    async with calling(create_app(MemoryWorld(classes=("cpu", "llm")).deps)) as client:
        document = (await client.get("/openapi.json")).json()
        task_id = (await client.post(PATH, json=ECHO)).json()["task_id"]
        pause = {"scope": "tenant", "name": "a"}
        model = {"name": "m", "type": "local", "config": {"model_path": "m.gguf"}}
        for method, path, body, name in (
            ("PUT", "/api/v1/scheduler/strategy", {"class": "cpu", "strategy": "fair"}, "StrategyView"),
            ("GET", "/api/v1/scheduler/strategy", None, "StrategiesView"),
            ("PUT", "/scheduler/strategy", {"strategy": "round_robin", "time_slice": 1.0}, "EveryStrategyView"),
            ("POST", "/api/v1/scheduler/pause", pause, "PausesView"),
            ("PUT", "/api/v1/limits/tenant/a", {"concurrency": 2}, "LimitView"),
            ("GET", "/api/v1/limits", None, "LimitsView"),
            ("PUT", "/api/v1/tenants/a/weight", {"weight": 2}, "WeightView"),
            ("POST", "/api/v1/models", model, "ModelView"),
            ("GET", "/api/v1/models", None, "ModelsView"),
            ("PUT", "/api/v1/providers/kimi", {"preset": "kimi"}, "ProviderView"),
            ("GET", "/api/v1/providers", None, "ProvidersView"),
            ("POST", "/api/v1/tasks/cancel", {"tenant": "a"}, "CancelledView"),
            ("GET", f"{PATH}/{task_id}/why", None, "WhyView"),
            ("GET", "/api/v1/scheduler", None, "SchedulerView"),
        ):
            answer = await client.request(method, path, json=body)
            assert answer.is_success, answer.text
            validator(document, name).validate(answer.json())
            described = document["paths"][
                path.replace(task_id, "{task_id}")
                .replace("/tenant/a", "/{scope}/{name}")
                .replace("/tenants/a/", "/tenants/{name}/")
                .replace("/kimi", "/{name}")
            ][method.lower()]
            schema = described["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
            assert schema == {"$ref": f"#/components/schemas/{name}"}
