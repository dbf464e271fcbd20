"""Large inputs and outputs, kept outside the log under the hash of their bytes.

An event carries an artifact's URI, size, media type and SHA-256. The same bytes have the same URI, so storing
them again, by a second attempt say, changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from domain.errors import TaskError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


@dataclass(frozen=True, slots=True)
class Artifact:
    """Where bytes lie, and what they are."""

    uri: str
    size_bytes: int
    media_type: str
    #: Lower-case hex digest.
    sha256: str

    def as_json(self) -> dict[str, object]:
        """As results and events show it."""
        return asdict(self)


class ArtifactStore:
    """A content-addressed store in any folder that fsspec can reach. The asynchronous methods never block the loop."""

    def __init__(self, url: str) -> None:
        #: The folder as an fsspec URL.
        self.url = url.rstrip("/")

    async def put(self, content: bytes, media_type: str) -> Artifact:
        """Store the bytes; they are whole under their URI or not there at all."""
        return await asyncio.to_thread(self.put_now, content, media_type)

    async def get(self, uri: str) -> bytes:
        """The bytes under the URI, checked against the hash in it.

        Raises:
            TaskError: `artifact_not_found`, `artifact_corrupt`, or `invalid_artifact` for a URI of somewhere else.
        """
        return await asyncio.to_thread(self.get_now, uri)

    def holds(self, uri: str) -> bool:
        """Whether the URI is one of this store's, whether or not anything lies there."""
        return uri.startswith(self.url + "/")

    def put_now(self, content: bytes, media_type: str) -> Artifact:
        """Like `put`, for code that may block."""
        sha256 = hashlib.sha256(content).hexdigest()
        system, root = self._open()
        path = _path(root, sha256)
        if not system.exists(path):
            system.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            unfinished = f"{path}.{uuid.uuid4().hex}.part"
            system.pipe_file(unfinished, content)
            system.mv(unfinished, path)
        return Artifact(_path(self.url, sha256), len(content), media_type, sha256)

    def get_now(self, uri: str) -> bytes:
        """Like `get`, for code that may block."""
        sha256 = uri.rsplit("/", 1)[-1]
        if uri != _path(self.url, sha256) or len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise TaskError("invalid_artifact", f"{uri!r} is not an artifact of this installation")
        system, root = self._open()
        try:
            content: bytes = system.cat_file(_path(root, sha256))
        except FileNotFoundError:
            raise TaskError("artifact_not_found", f"nothing is stored under {uri}") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise TaskError("artifact_corrupt", f"the bytes under {uri} are not those that were stored")
        return content

    def _open(self) -> tuple[AbstractFileSystem, str]:
        import fsspec  # heavy: loads entry points of every installed file system

        system, root = fsspec.url_to_fs(self.url)
        return system, root


def _path(root: str, sha256: str) -> str:
    # Two levels of folders, since file systems slow down with millions of names in one.
    return f"{root}/sha256/{sha256[:2]}/{sha256}"
