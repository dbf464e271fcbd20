"""What goes wrong with those who serve models: codes of TaskError by which limits, breakers and fallbacks decide."""

from __future__ import annotations

from typing import Final

#: Asked to slow down; `retry_after_seconds` says for how long, where the provider said so. HTTP 429.
RATE_LIMITED: Final = "rate_limited"
#: Answered that it cannot serve now, or broke off. HTTP 5xx, 408, 409, 425.
UNAVAILABLE: Final = "provider_unavailable"
#: Could not be connected to.
UNREACHABLE: Final = "provider_unreachable"
#: Connected, and then silent for too long.
TIMED_OUT: Final = "provider_timeout"
#: The credential was refused. HTTP 401, 403.
REFUSED: Final = "provider_refused"
#: The account is empty, and no waiting fills it. HTTP 429 with the code insufficient_quota, 402.
QUOTA_EXHAUSTED: Final = "provider_quota_exhausted"
#: The endpoint knows no such model. HTTP 404.
MODEL_NOT_FOUND: Final = "model_not_found"
#: The installation cannot use the provider as it is set up: a key's variable is not set.
NOT_CONFIGURED: Final = "provider_not_configured"
#: The settings do not let a key be sent to the provider's address.
KEY_REFUSED: Final = "provider_key_refused"
#: No instance of the model is well.
NO_INSTANCE: Final = "model_unavailable"
#: The request itself is wrong; no provider helps. HTTP 400, 422 and others.
REQUEST_REFUSED: Final = "request_refused"
#: Prompt and answer are longer than the model's context; a model with a longer one may help.
CONTEXT_EXCEEDED: Final = "context_exceeded"
#: The engine process of a local model ended.
ENGINE_DIED: Final = "engine_died"

#: No worker of the class has the memory that the model, or the task type, declares to need.
MEMORY_EXCEEDED: Final = "memory_exceeded"

#: Failures of the provider, which count for its circuit breaker. To be asked to slow down is none.
BREAKING: Final = frozenset({UNAVAILABLE, UNREACHABLE, TIMED_OUT, NO_INSTANCE})
#: Failures that no further attempt on the same model heals, and another provider may.
ELSEWHERE_ONLY: Final = frozenset(
    {REFUSED, QUOTA_EXHAUSTED, MODEL_NOT_FOUND, NOT_CONFIGURED, KEY_REFUSED, CONTEXT_EXCEEDED, MEMORY_EXCEEDED}
)
#: Failures that another provider may heal at once.
HEALED_ELSEWHERE: Final = BREAKING | ELSEWHERE_ONLY | {ENGINE_DIED}
#: A rate limit that lasts longer is worth going elsewhere; a shorter one is waited for.
LONG_RATE_LIMIT_SECONDS: Final = 5.0


def another_may_help(code: str, retry_after_seconds: float | None) -> bool:
    """Whether a task that failed so should go on with another target, if it has one."""
    if code == RATE_LIMITED:
        return (retry_after_seconds or 0.0) >= LONG_RATE_LIMIT_SECONDS
    return code in HEALED_ELSEWHERE
