"""Batches with header names that are not UTF-8, as a foreign producer writes them."""

from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import MemoryRecords

from streams import header_names
from streams.header_names import TolerantRecords
from tests.support.foreign import batch_of

GZIP = 1


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Other tests of this process see aiokafka as they would."""
    before = fetcher.MemoryRecords
    yield
    fetcher.MemoryRecords = before


def read(records: Any) -> list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]], int]]:
    """Everything in what was fetched; as the fetcher does, offsets that were had are skipped."""
    found: list[Any] = []
    while records.has_next():
        for record in records.next_batch():
            if not found or record.offset > found[-1][0]:
                found.append((record.offset, record.key, record.value, list(record.headers), record.timestamp))
    return found


@pytest.mark.parametrize("compression", [0, GZIP])
def test_a_name_that_is_not_utf_8_costs_nothing_of_its_batch(compression: int) -> None:
    odd = batch_of([(b"one", b"a"), (b"two", b"\xff\xfe"), (b"three", b"c")], base_offset=7, compression=compression)
    plain = batch_of([(b"four", b"d")], base_offset=10, compression=compression)
    assert [(offset, value, headers) for offset, _, value, headers, _ in read(TolerantRecords(odd + plain))] == [
        (7, b"one", [("a", b"1")]),
        (8, b"two", [("\N{REPLACEMENT CHARACTER}" * 2, b"1")]),
        (9, b"three", [("c", b"1")]),
        (10, b"four", [("d", b"1")]),
    ]


def test_all_else_is_as_aiokafka_reads_it() -> None:
    good = [(b"one", b"a"), (None, b"b"), (b"x" * 5000, "ä".encode())]
    fetched = batch_of(good, base_offset=7) + batch_of(good, base_offset=10)
    assert read(TolerantRecords(fetched)) == read(MemoryRecords(fetched))
    odd = batch_of([*good, (b"odd", b"\xff")], base_offset=7)
    with pytest.raises(UnicodeDecodeError):
        read(MemoryRecords(odd))
    assert read(TolerantRecords(odd))[:3] == read(MemoryRecords(fetched))[:3]


def test_a_batch_that_was_cut_off_is_left_for_the_next_fetch() -> None:
    whole = batch_of([(b"one", b"a")], base_offset=7)
    records = TolerantRecords(whole + whole[:-1])
    assert records.has_next()
    assert records.size_in_bytes() == 2 * len(whole) - 1
    assert records.next_batch().next_offset == 8
    assert not records.has_next()
    assert records.next_batch() is None


def test_aiokafkas_fetcher_takes_it() -> None:
    header_names.tolerate_any()
    header_names.tolerate_any()
    assert fetcher.MemoryRecords is TolerantRecords
