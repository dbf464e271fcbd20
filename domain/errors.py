"""What the rules can refuse.

PenstockError
├── InvalidSubmission   the caller must change the submission
├── SubmissionTooLarge  the caller must put its content elsewhere
├── IllegalTransition   the caller asked for a move that the task's state forbids
├── CorruptHistory      the operator must look: a bug or a foreign writer wrote the log
├── UnknownTaskType     no handler of that name is registered
└── TaskError           a handler says that its attempt failed, and whether another may help
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PenstockError(Exception):
    """Root of everything that Penstock raises on purpose."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing wrong with a submission: a JSON pointer to it, and a sentence."""

    pointer: str
    detail: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.detail}"


class InvalidSubmission(PenstockError):
    """The submission cannot be accepted; `flaws` says what to mend, each with a JSON pointer."""

    def __init__(self, flaws: Sequence[Flaw]) -> None:
        self.flaws = tuple(flaws)
        super().__init__("; ".join(map(str, self.flaws)))


class SubmissionTooLarge(PenstockError):
    """The submission, as the log would hold it, is larger than any door takes."""

    def __init__(self, bytes_written: int, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        super().__init__(
            f"payload and metadata have {bytes_written} bytes when their numbers are written out, {bytes_max} may be"
        )


class IllegalTransition(PenstockError):
    """The task's state forbids what was asked."""

    def __init__(self, task_id: str, asked: str, status: str, hint: str = "") -> None:
        self.task_id, self.asked, self.status = task_id, asked, status
        super().__init__(f"task {task_id}: cannot {asked}, it is {status}" + (f"; {hint}" if hint else ""))


class CorruptHistory(PenstockError):
    """The log holds a fact, or an order of facts, that no owner may write."""

    def __init__(
        self, task_id: str, status: str, event_type: str, version: tuple[int, int, int], hint: str = ""
    ) -> None:
        self.task_id, self.status, self.event_type, self.version = task_id, status, event_type, version
        text = f"task {task_id}: {event_type} (run, epoch, sequence {version}) cannot follow {status}"
        super().__init__(text + (f"; {hint}" if hint else ""))


class UnknownTaskType(PenstockError, KeyError):
    """No handler for the task type is registered here."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name, self.known = name, tuple(sorted(known))
        super().__init__(f"unknown task type {name!r}; registered here: {', '.join(self.known) or 'none'}")

    #: KeyError shows the repr of its argument; this error is a sentence.
    __str__ = Exception.__str__


class TaskError(PenstockError):
    """Raised by a handler: this attempt failed.

    `retryable` says whether another attempt may succeed; `retry_after_seconds` is the least wait before it.
    """

    def __init__(
        self, code: str, detail: str, *, retryable: bool = False, retry_after_seconds: float | None = None
    ) -> None:
        self.code, self.detail = code, detail
        self.retryable, self.retry_after_seconds = retryable, retry_after_seconds
        super().__init__(f"{code}: {detail}")

    def __reduce__(self) -> tuple[object, ...]:
        """Keyword arguments survive pickling, since errors cross from engine processes."""
        return (_task_error, (self.code, self.detail, self.retryable, self.retry_after_seconds))


def _task_error(code: str, detail: str, retryable: bool, retry_after_seconds: float | None) -> TaskError:
    return TaskError(code, detail, retryable=retryable, retry_after_seconds=retry_after_seconds)
