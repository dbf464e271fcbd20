"""Files that tasks name: only those within the one folder that the installation opens to them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from domain.errors import TaskError


def allowed_file(name: str, files_dir: Path | None) -> Path:
    """The real path of a file within `files_dir`, given relative to it, as an absolute path, or as a file URI.

    Links are followed before it is judged, so that none leads out of the folder. Blocks, briefly.

    Raises:
        TaskError: `file_refused` for anything outside, whether or not it exists; `file_not_found`.
    """
    if files_dir is None:
        raise TaskError("file_refused", "this installation opens no folder to tasks: set files_dir")
    parts = urlsplit(name)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        name = unquote(parts.path)
    elif "://" in name:
        raise TaskError("file_refused", f"{name!r}: only files and artifacts of this installation can be read")
    if "\0" in name:
        raise TaskError("file_refused", "a file name cannot hold a null character")
    root = files_dir.resolve()
    try:
        path = (root / name).resolve()
    except (OSError, RuntimeError) as error:
        raise TaskError("file_refused", f"{name!r}: {error}") from None
    if not path.is_relative_to(root):
        raise TaskError("file_refused", f"{name!r} lies outside the folder for tasks' files")
    if not path.is_file():
        raise TaskError("file_not_found", f"there is no file {name!r} in the folder for tasks' files")
    return path
