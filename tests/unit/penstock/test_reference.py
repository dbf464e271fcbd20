"""Generated parts of the documents are what the code says now, and each document names what there is."""

import pytest

from domain.states import TRANSITIONS
from penstock import reference
from schemas.codec import MESSAGES
from streams.topics import SHARED

PART = "before\n<!-- generated: {name} -->\n{text}<!-- end -->\nafter\n"


def test_the_documents_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"]) == 0, capsys.readouterr().out + " (run `make docs`)"


def test_only_the_generated_part_is_replaced() -> None:
    once = reference.filled(PART.format(name="states", text="STALE\n"))
    assert once.startswith("before\n<!-- generated: states -->\n| state |")
    assert once.endswith("|\n<!-- end -->\nafter\n")
    assert "STALE" not in once
    assert reference.filled(once) == once


def test_a_part_that_nobody_generates_is_an_error() -> None:
    with pytest.raises(KeyError, match="nothing"):
        reference.filled(PART.format(name="nothing", text=""))


def test_check_says_what_is_out_of_date_and_changes_nothing(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "DOCS", tmp_path)
    document = reference.DOCS / "lifecycle.md"
    document.write_text(PART.format(name="diagram", text=""))
    assert reference.main(["--check"]) == 1
    assert "docs/lifecycle.md is out of date; run `make docs`" in capsys.readouterr().out
    assert document.read_text() == PART.format(name="diagram", text="")
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0


def test_the_diagram_has_every_move() -> None:
    drawn = "\n".join(reference.diagram())
    for state, moves in TRANSITIONS.items():
        for event_type, after in moves.items():
            (arrow,) = [line for line in drawn.splitlines() if line.strip().startswith(f"{state} --> {after}: ")]
            assert event_type.removeprefix("task.") in arrow.partition(": ")[2].split(", ")


@pytest.mark.parametrize(
    ("document", "part", "names"),
    [
        ("lifecycle.md", "states", [str(state) for state in TRANSITIONS]),
        ("events.md", "messages", [message.TYPE for message in MESSAGES]),
        ("architecture.md", "topics", [topic.name for topic in SHARED]),
    ],
)
def test_a_document_has_its_generated_part(document: str, part: str, names: list[str]) -> None:
    text = (reference.DOCS / document).read_text()
    assert f"<!-- generated: {part} -->" in text
    assert all(f"`{name}`" in text for name in names)
