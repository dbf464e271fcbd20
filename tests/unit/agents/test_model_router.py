"""What a worker answers when it is asked where a task goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from agents.handlers.registry import Registry
from agents.measurements import Measurements
from agents.routing import ModelRouter
from domain.catalogue import TokenNeed
from domain.configuration import Configuration, Pause
from domain.decide import Fail
from domain.errors import TaskError
from domain.routing import Route
from domain.task import TaskState
from schemas.events import TaskSubmitted
from schemas.models import ModelDefinition, Prices, ProviderDefinition

AT = datetime(2026, 11, 21, tzinfo=UTC)
NOW = AT.timestamp()
PROVIDERS = {name: ProviderDefinition.model_validate({"name": name, "base_url": "http://h/v1"}) for name in "pqr"}


def model(name: str, provider: str, price: float = 1.0, **fields: Any) -> ModelDefinition:
    return ModelDefinition(name=name, provider=provider, prices=Prices(input=price, output=price), **fields)


CHEAP, DEAR, THIRD = model("cheap", "p", 1.0, quality=0.2), model("dear", "q", 9.0, quality=0.9), model("third", "r", 5)


class Empty(BaseModel):
    pass


class Scene:
    """A router, and what it goes by."""

    def __init__(self, *models: ModelDefinition, **configuration: Any) -> None:
        self.models = {each.name: each for each in models or (CHEAP, DEAR, THIRD)}
        self.measurements = Measurements(clock=lambda: self.now)
        self.now = NOW
        registry = Registry()
        registry.handler("write", resource_class="llm", payload=Empty, tokens=lambda payload: TokenNeed(1000, 0))(
            _write
        )
        self.configuration = Configuration(models=self.models, providers=PROVIDERS, **configuration)
        self.router = ModelRouter(registry, self.measurements, self.configuration, clock=lambda: self.now)

    def entering(
        self, asked: str | None, state: str | None = None, *, routed: tuple[str, ...] = (), **task: Any
    ) -> Any:
        return self.router.entering(_submission(asked, **task), _state(state or asked, routed))

    def failed(
        self,
        asked: str,
        code: str,
        after: float | None = None,
        *,
        state: str = "",
        routed: tuple[str, ...] = (),
        **task: Any,
    ) -> Any:
        failure = Fail(at=AT, code=code, detail="why", retryable=True, retry_after_seconds=after)
        return self.router.failed(_submission(asked, **task), _state(state or asked, routed), failure)


async def _write(payload: Empty, ctx: object) -> dict[str, object]:
    return {}


def _submission(asked: str | None, **fields: Any) -> TaskSubmitted:
    return TaskSubmitted(
        task_id="t", occurred_at=AT, type="write", resource_class="llm", routing_key="k", model=asked, **fields
    )


def _state(name: str | None, routed: tuple[str, ...]) -> TaskState:
    return replace(TaskState(task_id="t"), model=name, routed_to=routed)


def test_auto_is_given_a_model_by_what_the_task_wants() -> None:
    scene = Scene()
    assert scene.entering("auto").model == "cheap"
    route = scene.entering("auto", route_by="quality")
    assert (route.model, route.routing_key) == ("dear", "q")
    assert route.reason.startswith("auto by quality: dear (costs 0.009000, ")


def test_a_task_with_a_model_stays_with_it() -> None:
    scene = Scene()
    assert scene.entering("dear") is None
    assert scene.entering(None) is None
    assert scene.entering("unheard-of") is None


def test_a_burst_does_not_all_go_to_the_same_model() -> None:
    scene = Scene(*(model(name, "p", max_workers=1) for name in ("a", "b", "c")))
    assert {scene.entering("auto", route_by="speed").model for _ in range(3)} == {"a", "b", "c"}


def test_what_has_been_measured_counts() -> None:
    scene = Scene()
    for _ in range(5):
        scene.measurements.ended(CHEAP, 9.0, None)
        scene.measurements.ended(DEAR, 1.0, None)
        scene.measurements.ended(THIRD, 5.0, None)
    assert scene.entering("auto", route_by="speed").model == "dear"
    for _ in range(50):
        scene.measurements.ended(DEAR, 0.1, TaskError("provider_unavailable", "503"))
    assert scene.entering("auto", route_by="speed").model != "dear"


def test_a_paused_model_is_not_chosen() -> None:
    pause = Pause("model", "cheap", False, "", AT)
    assert Scene(pauses={("model", "cheap"): pause}).entering("auto").model == "third"


def test_a_refused_key_sends_the_task_on_its_chain_with_the_cause() -> None:
    route = Scene().failed("dear", "provider_refused", fallbacks=("cheap",))
    assert route == Route("cheap", "p", "dear failed: provider_refused: why; fallback to cheap")


def test_the_models_own_chain_serves_tasks_without_one() -> None:
    scene = Scene(CHEAP, model("first", "q", fallbacks=("cheap",)), THIRD)
    assert scene.failed("first", "provider_unavailable").model == "cheap"
    assert scene.failed("first", "provider_unavailable", fallbacks=("third",)).model == "third"
    assert Scene().failed("dear", "provider_unavailable") is None


def test_a_short_rate_limit_is_waited_for_and_a_long_one_is_not() -> None:
    assert Scene().failed("dear", "rate_limited", 2.0, fallbacks=("cheap",)) is None
    assert Scene().failed("dear", "rate_limited", 30.0, fallbacks=("cheap",)).model == "cheap"


def test_a_failure_of_the_task_itself_goes_nowhere() -> None:
    assert Scene().failed("dear", "request_refused", fallbacks=("cheap",)) is None


def test_a_chain_never_comes_back() -> None:
    scene, chain = Scene(), ("cheap", "third", "dear")
    assert scene.failed("dear", "provider_refused", fallbacks=chain).model == "cheap"
    again = scene.failed("dear", "provider_refused", state="cheap", routed=("cheap",), fallbacks=chain)
    assert again.model == "third"
    done = scene.failed("dear", "provider_refused", state="third", routed=("cheap", "third"), fallbacks=chain)
    assert done is None


def test_a_task_of_a_removed_model_goes_on_its_own_chain() -> None:
    scene = Scene()
    gone = scene.failed("removed", "model_not_found", fallbacks=("removed", "dear"))
    assert (gone.model, gone.reason) == (
        "dear",
        "removed failed: model_not_found: why; fallback to dear; passed over: removed (tried)",
    )
    assert scene.failed("removed", "model_not_found") is None, "the chain of its definition went with it"
    assert scene.failed("cheap", "model_not_found", state="removed", routed=("removed",)) is None
    assert scene.failed("auto", "model_not_found", state="removed", routed=("removed",)).model == "cheap"


def test_auto_that_failed_is_chosen_again_among_the_rest() -> None:
    route = Scene().failed("auto", "provider_refused", state="cheap", routed=("cheap",))
    assert route.model == "third"
    assert route.reason.startswith("cheap failed: provider_refused: why; auto by cost: third")


def test_a_model_that_is_blocked_for_long_is_not_waited_for_where_there_is_a_chain() -> None:
    scene = Scene()
    scene.measurements.ended(DEAR, 0.1, TaskError("rate_limited", "slow down", retry_after_seconds=60))
    route = scene.entering("dear", fallbacks=("cheap",))
    assert (route.model, route.reason) == ("cheap", "dear is rate limited for 60.0 s; fallback to cheap")
    assert scene.entering("dear") is None
    assert scene.router.obstructed() == {"dear"}
    scene.now += 58
    assert scene.entering("dear", fallbacks=("cheap",)) is None
    assert scene.router.obstructed() == set()


def test_an_offline_model_is_waited_for_unless_there_is_a_chain() -> None:
    scene = Scene(model("off", "p", status="offline"), CHEAP)
    assert scene.entering("off") is None
    assert scene.entering("off", fallbacks=("cheap",)).model == "cheap"


def test_models_are_as_the_configuration_has_them_now() -> None:
    scene = Scene()
    scene.router.configure(Configuration(models={"dear": DEAR}, providers=PROVIDERS))
    assert scene.entering("auto").model == "dear"
