"""The jars of the embedded Kafka are those of the lock, or are not run."""

import hashlib
from pathlib import Path

import pytest

from penstock.embedded import jars
from penstock.embedded.jars import LockedJar, ensure_jars, read_lock
from penstock.errors import EmbeddedError, JarMismatch


def locked(content: bytes) -> LockedJar:
    """A jar that may only have this content."""
    return LockedJar(sha256=hashlib.sha256(content).hexdigest(), group="org.example", name="thing", version="1.0")


def put(jar: LockedJar, folder: Path, content: bytes) -> Path:
    """Lay a file where the jar belongs."""
    path = jar.path_under(folder)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_the_committed_lock_names_each_jar_once_with_its_hash() -> None:
    found = read_lock()
    assert len({(jar.group, jar.name) for jar in found}) == len(found)
    assert all(len(jar.sha256) == 64 for jar in found)
    assert {f"{jar.group}:{jar.name}:{jar.version}" for jar in found} >= set(jars.COORDINATES)


def test_an_intact_jar_is_used_where_it_lies(tmp_path: Path) -> None:
    jar = locked(b"good")
    path = put(jar, tmp_path, b"good")
    assert ensure_jars(tmp_path, [jar]) == [path]


def test_a_jar_that_differs_after_its_download_is_removed_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = locked(b"good")
    path = put(jar, tmp_path, b"evil")
    monkeypatch.setattr("jgo.maven.MavenContext.project", lambda *_: _Download(path, b"still evil"))
    with pytest.raises(JarMismatch, match=r"thing-1\.0"):
        ensure_jars(tmp_path, [jar])
    assert not path.exists()


def test_a_jar_cut_short_is_fetched_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = locked(b"good")
    path = put(jar, tmp_path, b"go")
    monkeypatch.setattr("jgo.maven.MavenContext.project", lambda *_: _Download(path, b"good"))
    assert ensure_jars(tmp_path, [jar]) == [path]
    assert path.read_bytes() == b"good"


def test_a_lock_with_a_strange_line_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    file.write_text("abc org.example:thing\n", encoding="ascii")
    with pytest.raises(EmbeddedError, match=r"org\.example:thing"):
        read_lock(file)


class _Download:
    """Stands for jgo's chain project().at_version().artifact().resolve(), and writes what the network gave."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content = path, content

    def at_version(self, _version: str) -> "_Download":
        return self

    def artifact(self) -> "_Download":
        return self

    def resolve(self) -> Path:
        self._path.write_bytes(self._content)
        return self._path
