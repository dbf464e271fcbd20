"""CSV text and values: a header, then a record a line. RFC 4180, with LF accepted on reading.

Cells are texts. So that other values survive, a cell that reads as a number, `true`, `false`, `null`, or a JSON
text, list or object in exactly the form that this module writes, is that value; every other cell is the text that
it shows. `1.50`, `007` and `1e5` therefore stay texts, and a text that looks like a value is written in JSON's quotes.
So a table read and written again has the very same cells.

Formulas: a cell that begins with = + - or @ is written as it is, since anything else would change the data. Who opens
foreign tables in a spreadsheet should import them as text.
"""

from __future__ import annotations

import csv
import io
import json
import math

from agents.handlers.formats.values import Value, check_text, invalid

#: Column of a table made from values that are no objects.
VALUE_COLUMN = "value"
#: The parser's own bound is 128 KiB a cell; content is bounded as a whole before it comes here.
_CELL_CHARACTERS_MAX = 2**31 - 1


def read(content: str) -> Value:
    """A list with an object for each record, its keys from the header.

    Raises:
        TaskError: `invalid_content` for a record longer or shorter than the header, a column named twice, bad quotes.
    """
    check_text(content, "CSV")
    csv.field_size_limit(_CELL_CHARACTERS_MAX)
    reader = csv.reader(io.StringIO(content.removeprefix("\ufeff"), newline=""), strict=True)
    records: list[Value] = []
    header: list[str] | None = None
    try:
        for row in reader:
            if not row:
                continue
            if header is None:
                header = _checked_header(row)
            elif len(row) != len(header):
                problem = f"{len(row)} cells, but the header has {len(header)}"
                raise invalid("CSV", problem, reader.line_num)
            else:
                records.append(dict(zip(header, map(_from_cell, row), strict=True)))
    except csv.Error as error:
        raise invalid("CSV", str(error), reader.line_num) from None
    return records


def write(value: Value) -> str:
    """A table: the header is every key of every record, in order of appearance; a missing key is an empty cell.

    A list of objects is a table as it stands. An object is looked through while it has a single key that leads to
    a list or an object (`{"orders": {"order": [...]}}` is a table of orders); otherwise it is the one record. Anything
    else goes into the column `value`, a record an item.
    """
    records = _records(value)
    header = list(dict.fromkeys(key for record in records for key in record))
    if not header:
        return ""
    output = io.StringIO(newline="")
    writer = csv.writer(output, lineterminator="\r\n")
    writer.writerow(header)
    for record in records:
        writer.writerow([_to_cell(record[key]) if key in record else "" for key in header])
    return output.getvalue()


def _records(value: Value) -> list[dict[str, Value]]:
    while isinstance(value, dict) and len(value) == 1 and isinstance(inner := next(iter(value.values())), dict | list):
        value = inner
    if isinstance(value, dict):
        return [value]
    items = value if isinstance(value, list) else [value]
    records = [item for item in items if isinstance(item, dict)]
    return records if len(records) == len(items) else [{VALUE_COLUMN: item} for item in items]


def _checked_header(row: list[str]) -> list[str]:
    for index, name in enumerate(row):
        if name in row[:index]:
            raise invalid("CSV", f"the column {name!r} is named twice", 1)
    return row


def _from_cell(cell: str) -> Value:
    value = _as_json(cell)
    return cell if value is None or _to_cell(value[0]) != cell else value[0]


def _to_cell(value: Value) -> str:
    if isinstance(value, str) and _from_cell(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _as_json(cell: str) -> tuple[Value] | None:
    """The one value that the cell is the JSON text of; None if it is none. A tuple, since null is a value too."""
    # Most cells are words: the parser is asked only where the first character allows a value.
    if not cell or cell[0] not in '-0123456789tfn"[{':
        return None
    try:
        value: Value = json.loads(cell)
        cell_again = json.dumps(value, ensure_ascii=False, allow_nan=False)
        cell_again.encode()
    except (ValueError, RecursionError):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else (value,)
