"""Papers that must not fall behind: decisions, the dependency table, links between documents."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.services import REPOSITORY

DECISIONS = sorted((REPOSITORY / "docs/decisions").glob("[0-9]*.md"))
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
#: Extras whose versions only have to fit one another; no code of ours uses them yet.
DECLARED_ONLY = {"tts", "image", "embeddings", "dashboard", "dev"}


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_says_why_what_what_not_and_what_follows(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Rejected", "Consequences"]


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    used = list(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        used += [] if extra in DECLARED_ONLY else requirements
    names = {match[0] for requirement in used if (match := re.match(r"[\w.-]+", requirement))}
    table = (REPOSITORY / "docs/decisions/0009-dependencies.md").read_text()
    assert names - set(re.findall(r"^\| ([\w.-]+) \|", table, re.MULTILINE)) == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
