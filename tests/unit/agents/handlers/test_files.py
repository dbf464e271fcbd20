"""No name leads out of the folder for tasks' files."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.handlers.files import allowed_file
from domain.errors import TaskError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file and a link inside, and a secret beside it."""
    inside = tmp_path / "files"
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "a b.mp4").write_text("video")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "files-too").mkdir()
    (tmp_path / "files-too" / "x").write_text("secret")
    (inside / "good").symlink_to(inside / "sub" / "a b.mp4")
    (inside / "bad").symlink_to(tmp_path / "secret")
    (inside / "up").symlink_to(tmp_path)
    (inside / "loop").symlink_to(inside / "loop")
    return inside


@pytest.mark.parametrize("name", ["sub/a b.mp4", "./sub/../sub/a b.mp4", "good", "up/files/sub/a b.mp4"])
def test_names_within_are_opened(folder: Path, name: str) -> None:
    assert allowed_file(name, folder).read_text() == "video"


def test_absolute_paths_and_file_uris_within_are_opened(folder: Path) -> None:
    path = folder / "sub" / "a b.mp4"
    assert allowed_file(str(path), folder) == path.resolve()
    assert allowed_file(path.as_uri(), folder) == path.resolve()


@pytest.mark.parametrize(
    "name",
    ["../secret", "sub/../../secret", "bad", "up/secret", "/etc/passwd", "file:///etc/passwd", "file://host/x",
     "http://host/x", "s3://bucket/x", "../files-too/x", "a\0b", "file:///%2e%2e/etc/passwd", "../missing"],
)  # fmt: skip
def test_everything_else_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(TaskError) as caught:
        allowed_file(name, folder)
    assert (caught.value.code, caught.value.retryable) == ("file_refused", False)


@pytest.mark.parametrize("name", ["missing", "sub", "."])
def test_only_files_are_opened(folder: Path, name: str) -> None:
    with pytest.raises(TaskError) as caught:
        allowed_file(name, folder)
    assert caught.value.code == "file_not_found"


def test_a_circle_of_links_is_an_error_of_the_task(folder: Path) -> None:
    with pytest.raises(TaskError):
        allowed_file("loop", folder)


def test_without_a_folder_there_are_no_files() -> None:
    with pytest.raises(TaskError, match="files_dir"):
        allowed_file("x", None)
