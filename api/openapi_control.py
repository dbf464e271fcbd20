"""The description of the control routes: strategies, pauses, limits, weights, models, priorities, bulk cancel, why."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel

from api import control_bodies as bodies
from api import control_views as views
from api import model_views
from api.openapi_parts import TASK_ID, Json, answer, json_body, operation
from api.views import AcceptedView, TaskView
from domain.limits.limit import Scope

ANSWERS: tuple[type[BaseModel], ...] = (
    views.StrategiesView,
    views.StrategyView,
    views.EveryStrategyView,
    views.SchedulerView,
    views.PausesView,
    views.LimitsView,
    views.LimitView,
    views.WeightView,
    views.CancelledView,
    views.WhyView,
    model_views.ModelView,
    model_views.ModelsView,
    model_views.ProviderView,
    model_views.ProvidersView,
)
BODIES: tuple[type[BaseModel], ...] = (
    bodies.StrategyBody,
    bodies.EveryStrategyBody,
    bodies.PauseBody,
    bodies.LimitBody,
    bodies.WeightBody,
    bodies.PriorityBody,
    bodies.CancelBody,
    bodies.ModelStatusBody,
    model_views.NewModel,
)
#: What every route with a body may answer; and every route that reads or changes the configuration.
_BAD_BODY = (413, 415, 422)
_AWAY = (500, 503)


def paths() -> Json:
    """By path and method."""
    return _scheduler() | _limits() | _models() | _tasks()


def _scheduler() -> Json:
    def pausing(name: str, summary: str) -> Json:
        responses = answer(200, "All that is paused now.", views.PausesView, *_BAD_BODY, *_AWAY)
        return {"post": operation(name, "scheduler", summary, responses, requestBody=json_body(bodies.PauseBody))}

    overview = answer(200, "Classes with their workers, pauses, limits, weights.", views.SchedulerView, *_AWAY)
    strategies = answer(200, "By class.", views.StrategiesView, *_AWAY)
    selected = answer(200, "It holds.", views.StrategyView, *_BAD_BODY, *_AWAY)
    selected_for_all = answer(200, "It holds.", views.EveryStrategyView, *_BAD_BODY, *_AWAY)
    pauses = answer(200, "All that is paused.", views.PausesView, *_AWAY)
    return {
        "/api/v1/scheduler": {
            "get": operation("schedulerOverview", "scheduler", "What is configured and what workers do", overview)
        },
        "/api/v1/scheduler/strategy": {
            "get": operation("listStrategies", "scheduler", "Every class's strategy", strategies),
            "put": operation(
                "selectStrategy",
                "scheduler",
                "Start one class's waiting tasks in another order",
                selected,
                requestBody=json_body(bodies.StrategyBody),
            ),
        },
        "/scheduler/strategy": {
            "put": operation(
                "selectStrategyForAll",
                "scheduler",
                "Start every class's waiting tasks in another order",
                selected_for_all,
                requestBody=json_body(bodies.EveryStrategyBody),
            )
        },
        "/api/v1/scheduler/pauses": {"get": operation("listPauses", "scheduler", "All that is paused", pauses)},
        "/api/v1/scheduler/pause": pausing("pause", "Let nothing of a class, model or tenant start"),
        "/api/v1/scheduler/drain": pausing("drain", "The same, by somebody who waits until nothing of it runs"),
        "/api/v1/scheduler/resume": pausing("resume", "Let it start again"),
    }


def _limits() -> Json:
    scope = {"name": "scope", "in": "path", "required": True, "schema": {"type": "string", "enum": [*get_args(Scope)]}}
    key = [scope, _name("Whose limit; `*`: each one of the scope that has none of its own, each for itself.")]
    limits = answer(200, "All that hold.", views.LimitsView, *_AWAY)
    one = answer(200, "The limit.", views.LimitView, 404, 422, *_AWAY)
    set_one = answer(200, "It holds.", views.LimitView, 404, *_BAD_BODY, *_AWAY)
    lifted = answer(200, "Those that are left.", views.LimitsView, 404, 422, *_AWAY)
    weight = answer(200, "The weight.", views.WeightView, 422, *_AWAY)
    weighed = answer(200, "It holds.", views.WeightView, *_BAD_BODY, *_AWAY)
    tenant = [_name("The tenant.")]
    return {
        "/api/v1/limits": {"get": operation("listLimits", "scheduler", "Every limit that holds", limits)},
        "/api/v1/limits/{scope}/{name}": {
            "get": operation("getLimit", "scheduler", "Read a limit", one, key),
            "put": operation(
                "setLimit", "scheduler", "Set a limit", set_one, key, requestBody=json_body(bodies.LimitBody)
            ),
            "delete": operation("liftLimit", "scheduler", "Lift a limit that was set", lifted, key),
        },
        "/api/v1/tenants/{name}/weight": {
            "get": operation("getWeight", "scheduler", "Read a tenant's share under `fair`", weight, tenant),
            "put": operation(
                "setWeight",
                "scheduler",
                "Give a tenant another share under `fair`",
                weighed,
                tenant,
                requestBody=json_body(bodies.WeightBody),
            ),
        },
    }


def _models() -> Json:
    model_id = {"name": "model_id", "in": "path", "required": True, "schema": {"type": "string"}}
    one = [model_id | {"description": "The model's number or its name."}]
    body = json_body(model_views.NewModel)
    models = answer(200, "All models.", model_views.ModelsView, *_AWAY)
    created = answer(201, "It is known.", model_views.ModelView, 409, *_BAD_BODY, *_AWAY, location=True)
    model = answer(200, "The model.", model_views.ModelView, 404, *_AWAY)
    changed = answer(200, "The model as it is now.", model_views.ModelView, 404, *_BAD_BODY, *_AWAY)
    left = answer(200, "Those that are left.", model_views.ModelsView, 404, *_AWAY)
    return {
        "/api/v1/models": {
            "get": operation("listModels", "models", "List models", models),
            "post": operation("createModel", "models", "Make a model known", created, requestBody=body),
        },
        "/api/v1/models/{model_id}": {
            "get": operation("getModel", "models", "Read a model", model, one),
            "put": operation("replaceModel", "models", "Define a model anew", changed, one, requestBody=body),
            "delete": operation("removeModel", "models", "Forget a model", left, one),
        },
        "/api/v1/models/{model_id}/status": {
            "put": operation(
                "setModelStatus",
                "models",
                "Take a model offline, so that its tasks wait, or bring it back",
                changed,
                one,
                requestBody=json_body(bodies.ModelStatusBody),
            )
        },
    } | _providers()


def _providers() -> Json:
    name = [_name("The account.")]
    accounts = answer(200, "All accounts.", model_views.ProvidersView, *_AWAY)
    account = answer(200, "The account.", model_views.ProviderView, 404, *_AWAY)
    defined = answer(200, "It holds.", model_views.ProviderView, *_BAD_BODY, *_AWAY)
    left = answer(200, "Those that are left.", model_views.ProvidersView, 404, 409, *_AWAY)
    body = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "/api/v1/providers": {"get": operation("listProviders", "models", "List providers' accounts", accounts)},
        "/api/v1/providers/{name}": {
            "get": operation("getProvider", "models", "Read an account", account, name),
            "put": operation("defineProvider", "models", "Define an account", defined, name, requestBody=body),
            "delete": operation("removeProvider", "models", "Forget an account that serves no model", left, name),
        },
    }


def _tasks() -> Json:
    why = answer(200, "Why it waits or waited.", views.WhyView, 404, *_AWAY)
    cancelled = answer(200, "How many were asked to end.", views.CancelledView, *_BAD_BODY, *_AWAY)
    asked = answer(
        202, "Its owner has been asked.", AcceptedView, 404, 409, *_BAD_BODY, *_AWAY, location=True
    ) | answer(200, "It has that priority.", TaskView)
    return {
        "/api/v1/tasks/cancel": {
            "post": operation(
                "cancelTasks",
                "tasks",
                "Cancel all unfinished tasks that match",
                cancelled,
                requestBody=json_body(bodies.CancelBody),
            )
        },
        "/api/v1/tasks/{task_id}/priority": {
            "put": operation(
                "changePriority",
                "tasks",
                "Give a waiting task another priority",
                asked,
                [TASK_ID],
                requestBody=json_body(bodies.PriorityBody),
            )
        },
        "/api/v1/tasks/{task_id}/why": {
            "get": operation("explainTask", "tasks", "Why a task waits or waited, in one sentence", why, [TASK_ID])
        },
    }


def _name(description: str) -> Json:
    schema = {"type": "string", "minLength": 1}
    return {"name": "name", "in": "path", "required": True, "schema": schema, "description": description}
