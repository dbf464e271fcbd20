"""Speaks to the HTTP API of a running system, for the task commands."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from penstock.errors import NotRunning, RequestFailed

TIMEOUT_SECONDS = 15.0
#: How long one request may hold on for a task's end; the caller asks again.
WAIT_SECONDS_MAX = 30.0
#: Most tasks that one page holds.
PAGE_SIZE_MAX = 100
TERMINAL = frozenset({"completed", "failed", "cancelled", "rejected", "expired"})

#: A task, or a page of them, as the API wrote it.
Document = Mapping[str, Any]


class Client:
    """The API of one system; use `connected`."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def submit(self, submission: Mapping[str, object]) -> Document:
        """Submit a task; the answer holds its `task_id`."""
        return self._ask("POST", "/api/v1/tasks", json=submission)

    def task(self, task_id: str, wait_seconds: float = 0.0) -> Document:
        """One task; with a wait, as it is at its end or when the time is over."""
        wait = min(wait_seconds, WAIT_SECONDS_MAX)
        parameters = {"wait": wait} if wait > 0 else None
        return self._ask("GET", f"/api/v1/tasks/{task_id}", params=parameters, timeout=TIMEOUT_SECONDS + wait)

    def task_at_its_end(self, task_id: str) -> Document:
        """Wait for the task's end, however long."""
        while True:
            task = self.task(task_id, WAIT_SECONDS_MAX)
            if task["status"] in TERMINAL:
                return task

    def tasks(self, **filters: object) -> Document:
        """A page of tasks: `total`, `page`, `page_size`, `tasks`."""
        return self._ask("GET", "/api/v1/tasks", params={k: str(v) for k, v in filters.items() if v is not None})

    def history(self, task_id: str) -> Document:
        """Everything that happened to a task, in order."""
        return self._ask("GET", f"/api/v1/tasks/{task_id}/history")

    def cancel(self, task_id: str) -> Document:
        """Ask for a task's cancellation."""
        return self._ask("DELETE", f"/api/v1/tasks/{task_id}")

    def retry(self, task_id: str) -> Document:
        """Run a task anew that failed, was cancelled or expired."""
        return self._ask("POST", f"/api/v1/tasks/{task_id}/retry")

    def why(self, task_id: str) -> Document:
        """Why a task waits or waited; `sentence` says it."""
        return self.get(f"/api/v1/tasks/{task_id}/why")

    def get(self, path: str, wait_seconds: float = 0.0) -> Document:
        """What is there; the answer may be held back for so long."""
        return self._ask("GET", path, timeout=TIMEOUT_SECONDS + wait_seconds)

    def put(self, path: str, body: Mapping[str, object]) -> Document:
        """What is there now."""
        return self._ask("PUT", path, json=body)

    def post(self, path: str, body: Mapping[str, object]) -> Document:
        """What came of it."""
        return self._ask("POST", path, json=body)

    def delete(self, path: str) -> Document:
        """What is left."""
        return self._ask("DELETE", path)

    def _ask(self, method: str, path: str, **options: Any) -> Document:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise NotRunning(
                f"The API at {self._http.base_url} does not answer ({type(error).__name__}).",
                remedy="It may still be starting: see what `penstock up` says, and its api.log.",
            ) from error
        if response.is_success:
            content: Document = response.json() if response.content else {}
            return content
        raise RequestFailed(_problem(response))


def _problem(response: httpx.Response) -> str:
    """What a problem details answer (RFC 9457) says, or else its status."""
    try:
        problem = response.json()
        # It names all that is wrong; a pointer to the whole of what was sent says nothing.
        return str(problem.get("detail") or problem["title"]).removeprefix("/: ")
    except (ValueError, KeyError, AttributeError):
        return f"The API answered {response.status_code} {response.reason_phrase}."


@contextmanager
def connected(api_url: str) -> Iterator[Client]:
    """A client of the system at this address; the machine's proxy settings do not apply to it."""
    with httpx.Client(base_url=api_url, timeout=TIMEOUT_SECONDS, trust_env=False) as http:
        yield Client(http)
