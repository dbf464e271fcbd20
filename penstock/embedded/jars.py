"""The jars of the embedded Apache Kafka: exactly those of the committed lock, checked at each start.

`kafka-jars.lock` holds one line a jar: its SHA-256 and its Maven coordinates. Nothing is resolved at start, so what
runs is what was reviewed. `python -m penstock.embedded.jars` resolves the coordinates below anew and prints a lock.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from jgo.maven import Artifact, MavenContext
from jgo.parse import Endpoint

from penstock.errors import EmbeddedError, JarMismatch

#: slf4j-simple is the binding that lets Kafka log at all; 1.7 is the interface that Kafka 4.3 is built against.
COORDINATES = ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36")
LOCK_FILE = Path(__file__).with_name("kafka-jars.lock")
DOWNLOADS_AT_ONCE = 8
DOWNLOAD_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedJar:
    """One jar that may be on Kafka's class path, and the only content that it may have."""

    sha256: str
    group: str
    name: str
    version: str

    def path_under(self, folder: Path) -> Path:
        """Where the jar lies below a folder laid out as a local Maven repository."""
        return folder.joinpath(*self.group.split("."), self.name, self.version, f"{self.name}-{self.version}.jar")


def read_lock(path: Path = LOCK_FILE) -> list[LockedJar]:
    """The locked jars, in class path order.

    Raises: EmbeddedError where the lock is missing or holds a line that is none.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise EmbeddedError(
            f"The lock of Kafka's jars, {path}, cannot be read.", remedy="Reinstall Penstock."
        ) from error
    return [_parse_line(line, path) for line in lines if line and not line.startswith("#")]


def _parse_line(line: str, path: Path) -> LockedJar:
    try:
        sha256, coordinates = line.split()
        group, name, version = coordinates.split(":")
    except ValueError as error:
        raise EmbeddedError(f"{path} holds {line!r}, which is no locked jar.", remedy="Restore the file.") from error
    return LockedJar(sha256=sha256, group=group, name=name, version=version)


def default_cache_dir() -> Path:
    """Where jars are kept between installations of this user, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock" / "maven"


def ensure_jars(cache_dir: Path, locked: Sequence[LockedJar] | None = None) -> list[Path]:
    """Every locked jar as a file with the locked content; downloads what is missing, blocks meanwhile.

    A file cut short by an interrupted download is fetched once more; one that still differs is an error.

    Raises: JarMismatch, EmbeddedError (no network, no such jar).
    """
    jars = read_lock() if locked is None else locked
    cache_dir.mkdir(parents=True, exist_ok=True)
    wrong = [jar for jar in jars if not _is_intact(jar, cache_dir)]
    if wrong:
        with _only_one(cache_dir), ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            list(pool.map(lambda jar: _download(jar, cache_dir), wrong))
    return [jar.path_under(cache_dir) for jar in jars]


def _is_intact(jar: LockedJar, cache_dir: Path) -> bool:
    path = jar.path_under(cache_dir)
    return path.is_file() and sha256_of(path) == jar.sha256


def _download(jar: LockedJar, cache_dir: Path) -> None:
    if _is_intact(jar, cache_dir):
        return
    path = jar.path_under(cache_dir)
    path.unlink(missing_ok=True)
    context = MavenContext(repo_cache=cache_dir, timeout=DOWNLOAD_TIMEOUT_SECONDS)
    try:
        context.project(jar.group, jar.name).at_version(jar.version).artifact().resolve()
    except (OSError, RuntimeError) as error:
        raise EmbeddedError(
            f"The jar {jar.group}:{jar.name}:{jar.version} of the embedded Kafka cannot be downloaded: {error}.",
            remedy="Check the network and start again, or set KAFKA_BOOTSTRAP_SERVERS to a Kafka of your own.",
        ) from error
    found = sha256_of(path)
    if found != jar.sha256:
        path.unlink()
        raise JarMismatch(
            f"The jar {jar.name}-{jar.version} has SHA-256 {found}, and the lock demands {jar.sha256}.",
            remedy="It was removed and will not be run; find out who changed it before you start again.",
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _only_one(cache_dir: Path) -> Iterator[None]:
    """Two installations that start together must not write one file at once."""
    with (cache_dir / "download.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _resolve(context: MavenContext) -> list[Artifact]:
    wanted = [
        context.create_dependency(replace(coordinate, scope="compile"))
        for coordinate in Endpoint.parse("+".join(COORDINATES)).coordinates
    ]
    direct, transitive = context.resolver.resolve(wanted)
    needed = [*direct, *(each for each in transitive if each.scope in ("compile", "runtime"))]
    return [each.artifact for each in needed]


def main() -> None:
    """Print a lock for COORDINATES as Maven resolves them today."""
    context = MavenContext(repo_cache=default_cache_dir(), timeout=DOWNLOAD_TIMEOUT_SECONDS)
    print("# SHA-256 and Maven coordinates of each jar of the embedded Apache Kafka.")
    print("# Written by: python -m penstock.embedded.jars > penstock/embedded/kafka-jars.lock")
    for artifact in _resolve(context):
        path = artifact.resolve()
        print(f"{sha256_of(path)} {artifact.groupId}:{artifact.artifactId}:{artifact.version}")


if __name__ == "__main__":
    main()
