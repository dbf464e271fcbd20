"""Writes Avro's binary encoding of the types that our schemas use, at half of a general library's price.

Each field's type is looked at once, when its schema is read, and not again for each record. Only what is written comes
from here: bytes that others may have written, or damaged, are read by fastavro, which also checks this in the tests.

Source: Apache Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from struct import Struct
from typing import Any

#: The bytes of a value.
Write = Callable[[Any], bytes]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS = 86_400
_FALSE, _TRUE = b"\x00", b"\x01"
#: The first branch of a union, the second one, and the end of an array or a map.
_NULL, _PRESENT, _END = b"\x00", b"\x02", b"\x00"


def record_writer(fields: Sequence[Mapping[str, Any]]) -> Callable[[Iterable[Any]], bytes]:
    """Writes a record of these fields, as its schema lists them, from a value for each.

    What it gives raises OverflowError for whole numbers of more than 64 bits, and UnicodeEncodeError.
    """
    writes = [_writer(field["type"]) for field in fields]

    def write_record(values: Iterable[Any]) -> bytes:
        return b"".join([write(value) for write, value in zip(writes, values, strict=True)])

    return write_record


def _writer(schema: Any) -> Write:
    match schema:
        case {"type": "array", "items": items}:
            return _array(_writer(items))
        case {"type": "map", "values": values}:
            return _map(_writer(values))
        case {"type": "long", "logicalType": "timestamp-micros"}:
            return _moment
        case ["null", other]:
            return _optional(_writer(other))
        case str() if schema in _PLAIN:
            return _PLAIN[schema]
    raise ValueError(f"no message has used the type {schema!r} so far")


class _Longs(dict[int, bytes]):
    """Whole numbers as zigzag varints; small ones are ready."""

    def __missing__(self, number: int) -> bytes:
        if not -(1 << 63) <= number < 1 << 63:
            raise OverflowError(f"{number} has more than 64 bits")
        left = number << 1 ^ number >> 63
        written = bytearray()
        while left > 0x7F:
            written.append(left & 0x7F | 0x80)
            left >>= 7
        written.append(left)
        return bytes(written)


_LONGS = _Longs({number: _Longs()[number] for number in range(1024)})


def _bytes(value: bytes) -> bytes:
    return _LONGS[len(value)] + value


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _LONGS[len(encoded)] + encoded


def _moment(value: datetime) -> bytes:
    since = value - _EPOCH
    return _LONGS[(since.days * _DAY_SECONDS + since.seconds) * 1_000_000 + since.microseconds]


_PLAIN: dict[str, Write] = {
    "long": _LONGS.__getitem__,
    "double": Struct("<d").pack,
    "boolean": lambda value: _TRUE if value else _FALSE,
    "bytes": _bytes,
    "string": _text,
}


def _optional(write: Write) -> Write:
    return lambda value: _NULL if value is None else _PRESENT + write(value)


def _array(write: Write) -> Write:
    return lambda values: b"".join([_LONGS[len(values)], *map(write, values), _END]) if values else _END


def _map(write: Write) -> Write:
    pairs = _array(lambda pair: _text(pair[0]) + write(pair[1]))
    return lambda values: pairs(values.items())
