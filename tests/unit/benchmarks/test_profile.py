from pathlib import Path

import pytest
from pyinstrument.session import Session

from benchmarks import profile


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/home/me/penstock/agents/limits/gates.py", "agents/"),
        ("/home/me/penstock/.venv/lib/python3.11/site-packages/faust/agents/agent.py", "faust"),
        ("/home/me/penstock/.venv/lib/python3.11/site-packages/uvloop/__init__.py", profile.LOOP),
        ("/usr/lib/python3.11/asyncio/runners.py", profile.LOOP),
        ("/usr/lib/python3.11/asyncio/streams.py", profile.SOCKETS),
        ("/usr/lib/python3.11/asyncio/tasks.py", "asyncio"),
        ("/usr/lib/python3.11/json/encoder.py", "Python's library"),
        ("<string>", "generated dataclass methods"),
    ],
)
def test_a_frame_belongs_to_whoever_wrote_its_file(path: str, owner: str) -> None:
    assert profile.owner_of(path) == owner


def test_time_belongs_to_the_innermost_frame(tmp_path: Path) -> None:
    outer, inner = "run\0/x/penstock/agents/worker.py\x001", "decode\0/x/penstock/schemas/codec.py\x002"
    session = _session([(["thread", outer], 0.5), (["thread", outer, inner], 0.25), (["thread", outer], 0.25)])
    session.save(tmp_path / "a.pyisession")
    loaded = Session.load(tmp_path / "a.pyisession")
    assert profile.seconds_by_owner(loaded) == {"agents/": 0.75, "schemas/": 0.25}


def test_the_table_leaves_waiting_out_and_puts_what_is_small_together() -> None:
    found = {
        "agents-cpu": {"agents/": 6.0, "faust": 3.9, "re": 0.1, profile.LOOP: 30.0},
        "intake": {"schemas/": 1.0, profile.LOOP: 9.0},
    }
    assert profile.table(found).splitlines() == [
        "| % of the time at work in | agents-cpu | intake |",
        "|---|---|---|",
        "| agents/ | 60 | 0 |",
        "| faust | 39 | 0 |",
        "| schemas/ | 0 | 100 |",
        "| everything else | 1 | 0 |",
    ]


def _session(records: list[tuple[list[str], float]]) -> Session:
    return Session(
        frame_records=records,
        start_time=0.0,
        duration=1.0,
        min_interval=0.001,
        max_interval=0.001,
        sample_count=len(records),
        start_call_stack=[],
        target_description="a test",
        cpu_time=1.0,
        sys_path=[],
        sys_prefixes=[],
    )
