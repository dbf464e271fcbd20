"""One installation's data folder: its paths, its lock, its ports, and what it tells other commands about itself."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from penstock.errors import FolderInUse, NotRunning
from penstock.processes import claim, free_port, is_free, is_same_process


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRole:
    """One process of the running system, named so that a reused process id cannot be taken for it."""

    pid: int
    created_at: float
    is_ready: bool
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSystem:
    """What a running system tells other commands; kept in `run/system.json`, readable by its user only."""

    supervisor_pid: int
    supervisor_created_at: float
    bootstrap_servers: str
    database_url: str
    api_url: str
    roles: dict[str, RunningRole] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The embedded Kafka's two ports, kept from start to start while they are free."""

    kafka: int
    kafka_controller: int


@dataclass(frozen=True, slots=True)
class Installation:
    """The data folder of one installation."""

    folder: Path

    @property
    def kafka_dir(self) -> Path:
        """The embedded Kafka."""
        return self.folder / "kafka"

    @property
    def postgres_dir(self) -> Path:
        """The embedded PostgreSQL."""
        return self.folder / "postgres"

    @property
    def artifacts_dir(self) -> Path:
        """Large results."""
        return self.folder / "artifacts"

    @property
    def logs_dir(self) -> Path:
        """One log a role."""
        return self.folder / "logs"

    @property
    def run_dir(self) -> Path:
        """What is only true while the system runs."""
        return self.folder / "run"

    def create(self) -> None:
        """Make the folders; only their user may look into `run`, which holds the database's address."""
        for folder in (self.folder, self.logs_dir, self.run_dir):
            folder.mkdir(parents=True, exist_ok=True)
        self.run_dir.chmod(0o700)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Own the folder until the block ends or the process dies, whichever comes first.

        Raises: FolderInUse.
        """
        with (self.run_dir / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise FolderInUse(
                    f"Penstock runs already on {self.folder} (process {file.read().strip() or 'unknown'}).",
                    remedy="Stop that one with Ctrl-C or SIGINT, or choose another folder with --data.",
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def ports(self, reserved: int | None = None) -> Ports:
        """The ports of last time where nothing else took them, else new ones; remembered. `reserved` is the API's."""
        path = self.run_dir / "ports.json"
        with contextlib.suppress(OSError, ValueError, TypeError):
            kept = Ports(**json.loads(path.read_text(encoding="utf-8")))
            if reserved not in (kept.kafka, kept.kafka_controller) and all(
                map(is_free, (kept.kafka, kept.kafka_controller))
            ):
                # The supervisor has claimed them where this is its broker.
                claim(kept.kafka)
                claim(kept.kafka_controller)
                return kept
        chosen = Ports(kafka=free_port({reserved}), kafka_controller=free_port({reserved}))
        write_atomically(path, json.dumps(asdict(chosen)))
        return chosen

    def publish(self, system: RunningSystem) -> None:
        """Tell other commands what runs."""
        write_atomically(self.run_dir / "system.json", json.dumps(asdict(system), indent=1))

    def last_published(self) -> RunningSystem | None:
        """What the last supervisor said, whether it still runs or not."""
        try:
            content = json.loads((self.run_dir / "system.json").read_text(encoding="utf-8"))
            roles = {name: RunningRole(**role) for name, role in content.pop("roles").items()}
            return RunningSystem(**content, roles=roles)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def running(self) -> RunningSystem:
        """The system that runs on this folder now.

        Raises: NotRunning.
        """
        system = self.last_published()
        if system is None or not is_same_process(system.supervisor_pid, system.supervisor_created_at):
            raise NotRunning(
                f"No Penstock runs on {self.folder}.",
                remedy="Start one with `penstock up`, or name its folder with --data.",
            )
        return system

    def retract(self) -> None:
        """Say that nothing runs any more."""
        (self.run_dir / "system.json").unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by one that only its user may read; a reader sees the old or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
