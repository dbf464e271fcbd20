"""One sender that submits tasks, reads every result back, and prints what that took, as JSON on one line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def drive(send: Callable[[], T], result_of: Callable[[T], object]) -> None:
    """Warm up, measure throughput, measure latency; the numbers of tasks are the command line's three arguments."""
    warm_up, tasks, samples = map(int, sys.argv[1:4])
    _all(send, result_of, warm_up)
    submit_seconds, total_seconds = _all(send, result_of, tasks)
    waits = sorted(_all(send, result_of, 1)[1] for _ in range(samples))
    document = {
        "tasks": tasks,
        "submit_seconds": round(submit_seconds, 3),
        "total_seconds": round(total_seconds, 3),
        "tasks_per_second": round(tasks / total_seconds, 1),
        "idle_p50_ms": round(waits[len(waits) // 2] * 1000, 2),
        "idle_p95_ms": round(waits[int(len(waits) * 0.95)] * 1000, 2),
    }
    print(json.dumps(document), flush=True)


def _all(send: Callable[[], T], result_of: Callable[[T], object], tasks: int) -> tuple[float, float]:
    begun = time.perf_counter()
    sent = [send() for _ in range(tasks)]
    submitted = time.perf_counter()
    for each in sent:
        result_of(each)
    return submitted - begun, time.perf_counter() - begun
