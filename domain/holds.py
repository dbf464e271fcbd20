"""Why a task waits outside every window, in the words that TaskHeld carries: who writes a hold and who ends it agree.

A reason is a kind, for some kinds with what it is about: `paused: tenant acme`, `model_offline: llama-8b`.
"""

from __future__ import annotations

from typing import Final

#: Until a moment that the sender named.
RUN_AT: Final = "run_at"
#: Until its class has room; `until` is when it came, so that the oldest goes on first.
QUEUE_FULL: Final = "queue_full"
#: Until other tasks have ended, and not before `until` where that is given.
DEPENDENCIES: Final = "dependencies"
#: Until somebody resumes the class, model or tenant.
PAUSED: Final = "paused"
#: Until the model can be had again.
MODEL_OFFLINE: Final = "model_offline"

#: What can be paused.
PAUSE_SCOPES: Final = ("class", "model", "tenant")


def paused(scope: str, name: str) -> str:
    """The reason of a task that a pause of its class, model or tenant keeps waiting: `paused: class llm`."""
    assert scope in PAUSE_SCOPES, f"nothing can be paused by {scope!r}"
    return f"{PAUSED}: {scope} {name}"


def model_offline(model: str) -> str:
    """The reason of a task whose model is offline: `model_offline: llama-8b`."""
    return f"{MODEL_OFFLINE}: {model}"


def kind_of(reason: str) -> str:
    """The kind of a reason: one of the constants above, or a kind that this version does not know."""
    return reason.partition(":")[0]


def paused_what(reason: str) -> tuple[str, str] | None:
    """Scope and name of a pause; None where the reason is none."""
    kind, _, about = reason.partition(": ")
    scope, _, name = about.partition(" ")
    return (scope, name) if kind == PAUSED and scope in PAUSE_SCOPES and name else None


def offline_model(reason: str) -> str | None:
    """The model whose absence is the reason; None where it is another one."""
    kind, _, model = reason.partition(": ")
    return model if kind == MODEL_OFFLINE and model else None
