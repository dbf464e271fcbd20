"""The content-addressed store, on the file system."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from agents.artifacts import ArtifactStore
from domain.errors import TaskError


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore((tmp_path / "artifacts").as_uri())


async def test_what_was_stored_comes_back(store: ArtifactStore) -> None:
    artifact = await store.put(b"bytes", "text/plain")
    assert artifact.sha256 == hashlib.sha256(b"bytes").hexdigest()
    assert (artifact.size_bytes, artifact.media_type) == (5, "text/plain")
    assert store.holds(artifact.uri)
    assert await store.get(artifact.uri) == b"bytes"


async def test_the_same_bytes_lie_in_one_place_and_nothing_unfinished_stays(
    store: ArtifactStore, tmp_path: Path
) -> None:
    assert await store.put(b"x", "a/b") == await store.put(b"x", "a/b")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


async def test_damaged_bytes_are_noticed(store: ArtifactStore) -> None:
    artifact = await store.put(b"x", "a/b")
    Path(urlsplit(artifact.uri).path).write_bytes(b"y")
    with pytest.raises(TaskError) as caught:
        await store.get(artifact.uri)
    assert caught.value.code == "artifact_corrupt"


@pytest.mark.parametrize("end", ["/../../secret", "/sha256/aa/../../../secret", "", "/sha256/aa/" + "g" * 64])
async def test_no_uri_leads_elsewhere(store: ArtifactStore, tmp_path: Path, end: str) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(TaskError) as caught:
        await store.get(store.url + end)
    assert caught.value.code == "invalid_artifact"


async def test_what_is_not_there_is_said_so(store: ArtifactStore) -> None:
    sha256 = "0" * 64
    with pytest.raises(TaskError) as caught:
        await store.get(f"{store.url}/sha256/00/{sha256}")
    assert caught.value.code == "artifact_not_found"
