"""docs/read-models.md and the tables say the same."""

from __future__ import annotations

import re
from pathlib import Path

from projections.schema import TABLES

DOCUMENT = Path(__file__).parents[3] / "docs" / "read-models.md"


def test_every_table_and_column_is_described() -> None:
    _, *sections = DOCUMENT.read_text().split("\n## ")
    described = {}
    for section in sections:
        name, _, body = section.partition("\n")
        cells = re.findall(r"^\| (`.*?) \|", body, flags=re.MULTILINE)
        described[name] = [column for cell in cells for column in re.findall(r"`(\w+)`", cell)]
    assert {name: sorted(columns) for name, columns in described.items()} == {
        table.name: sorted(column.name for column in table.columns) for table in TABLES
    }
