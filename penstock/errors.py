"""What can go wrong in running an installation; the operator is the one who must act.

domain.errors.PenstockError
└── OperatorError
    ├── SettingsError        a setting is missing or wrong
    ├── FolderInUse          another `penstock up` owns the data folder
    ├── NotRunning           no system runs on this data folder
    ├── EmbeddedError        the embedded Kafka or PostgreSQL cannot be prepared
    │   └── JarMismatch      a jar differs from the committed lock
    ├── ReplayCutShort       an outage, or other maintenance, kept a replay from its end
    └── RequestFailed        the running system refused what was asked
"""

from domain.errors import PenstockError


class OperatorError(PenstockError):
    """One sentence that says what stood in the way, and what to do about it.

    The command line prints both and exits with `exit_code`, without a traceback.
    """

    exit_code = 1

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy


class SettingsError(OperatorError):
    """A setting is missing or wrong."""

    exit_code = 2


class FolderInUse(OperatorError):
    """Another `penstock up` owns the data folder."""

    exit_code = 3


class NotRunning(OperatorError):
    """No system runs on this data folder."""

    exit_code = 4


class ReplayCutShort(OperatorError):
    """An outage, or other maintenance, kept a replay from its end: it found neither agreement nor a difference."""

    exit_code = 5


class EmbeddedError(OperatorError):
    """The embedded Kafka or PostgreSQL cannot be prepared."""


class JarMismatch(EmbeddedError):
    """A jar differs from the committed lock."""


class RequestFailed(OperatorError):
    """The running system refused what was asked."""
