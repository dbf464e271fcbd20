"""Promises of the repository as a whole: its names, its locks, its documents and its commands."""

import importlib
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

from penstock.settings_doc import DOCUMENT, render

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
TOP_LEVEL = sorted({name.partition(".")[0] for name in PACKAGES})
LOCKS = sorted(REPOSITORY.glob("**/*.lock"), key=str)


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_a_top_level_package_is_ours(name: str) -> None:
    """The names are generic: another distribution may bring one of them, and would silently win or lose."""
    file = importlib.import_module(name).__file__
    assert file is not None
    assert Path(file).is_relative_to(REPOSITORY)


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_no_other_distribution_owns_one_of_our_names(name: str) -> None:
    owners = importlib.metadata.packages_distributions().get(name, [])
    assert set(owners) <= {"penstock"}


def test_the_listed_packages_are_those_on_disk() -> None:
    found = {
        ".".join(file.parent.relative_to(REPOSITORY).parts)
        for name in TOP_LEVEL
        for file in (REPOSITORY / name).rglob("__init__.py")
    }
    assert sorted(PACKAGES) == sorted(found)


def test_package_files_stay_empty_so_that_importing_one_loads_nothing_else() -> None:
    full = [name for name in PACKAGES if (REPOSITORY / name.replace(".", "/") / "__init__.py").stat().st_size]
    assert full == []


def test_it_can_not_be_published_by_mistake() -> None:
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if ".venv" not in lock.parts], ids=lambda lock: lock.name)
def test_a_lock_names_no_host(lock: Path) -> None:
    """Whoever installs decides where from; the hashes decide what."""
    text = lock.read_text(encoding="utf-8")
    assert re.search(r"https?://|--(extra-)?index-url|--find-links", text) is None


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-bootstrap.lock"])
def test_every_locked_package_has_a_hash(name: str) -> None:
    lines = (REPOSITORY / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    wanted = [line for line in lines if line.strip() and not line.startswith("#")]
    assert wanted
    assert [line for line in wanted if "--hash=sha256:" not in line] == []


def test_the_lock_holds_every_direct_dependency() -> None:
    """A dependency that was added without `make lock` would be missing from a fresh environment."""
    project = PROJECT["project"]
    wanted = list(project["dependencies"])
    for extra in ("llm", "subtitles", "demo-models", "dev"):
        wanted += project["optional-dependencies"][extra]
    names = {_normal(re.split(r"[\[<>=!~; ]", each)[0]) for each in wanted}
    locked = {_normal(line.split("==")[0]) for line in (REPOSITORY / "requirements.lock").read_text().splitlines()}
    assert names - locked == set()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_setting_is_documented() -> None:
    """`render` fails on a setting without its `#:` line."""
    assert DOCUMENT.read_text(encoding="utf-8") == render()


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.MULTILINE))
    assert named
    assert named - targets == set()


def test_every_make_target_says_what_it_does() -> None:
    lines = (REPOSITORY / "Makefile").read_text(encoding="utf-8").splitlines()
    public = {word for line in lines if line.startswith(".PHONY:") for word in line.split()[1:]}
    helped = {line.partition(":")[0] for line in lines if re.match(r"^[a-z-]+:.*## ", line)}
    assert public == helped
