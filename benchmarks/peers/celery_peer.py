"""Celery's side of the comparison: its no-op task, and the one who sends. Runs in the peers' own environment.

`acks_late` and `track_started` come nearest to what Penstock does: a task whose worker dies runs again, and a started
one is known to be so.
"""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.peers.driving import drive

URL = os.environ["PEER_REDIS_URL"]
RESULT_SECONDS_MAX = 120

app = Celery("benchmarks.peers.celery_peer", broker=URL, backend=URL)
app.conf.update(task_acks_late=True, task_track_started=True, broker_connection_retry_on_startup=True)


@app.task  # type: ignore[untyped-decorator]  # not installed here
def noop() -> dict[str, object]:
    """Nothing, with a result that is stored."""
    return {}


if __name__ == "__main__":
    # `python -m` makes this module a second time, under another name; workers know it by its own.
    from benchmarks.peers.celery_peer import noop as task

    drive(task.delay, lambda result: result.get(timeout=RESULT_SECONDS_MAX))
