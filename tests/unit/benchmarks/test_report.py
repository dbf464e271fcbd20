from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.processes import ms_per_task


def document(**others: Any) -> dict[str, Any]:
    rate = {"tasks": 10, "submit_seconds": 0.1, "total_seconds": 0.2}
    return {
        "at": "2026-11-21T12:00:00+00:00",
        "machine": {"cores": 2, "processor": "P", "python": "3.11", "load_before": 0.1, "load_after": 1.0},
        "idle_latency": {"p50_ms": 5.0, "p95_ms": 9.0},
        "throughput_log": rate | {"tasks_per_second": 2400.0},
        "throughput_http": rate | {"tasks_per_second": 1200.0},
        "cpu_ms_per_task": {"log": {"total": 0.8, "kafka": 0.3}},
        "peers": {
            "dramatiq_redis": {"tasks_per_second": 2000.0, "idle_p50_ms": 1.0, "idle_p95_ms": 2.0},
            "celery_redis": {"missing": "it broke"},
        },
        **others,
    }


def test_each_system_is_a_row_with_its_ratio_to_the_peers_of_the_same_run() -> None:
    lines = report.table(document()).splitlines()
    assert "| Penstock, through tasks-intake | 2,400 | 1.20 | - |  |  |" in lines
    assert "| Penstock, over HTTP | 1,200 | 0.60 | - | 5.0 | 9.0 |" in lines


def test_a_peer_that_could_not_be_driven_says_why_and_the_others_are_shown() -> None:
    assert "it broke" in report.table(document())
    assert "no redis" in report.table(document(peers={"missing": "no redis"}))


def test_the_table_replaces_the_one_before_it_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    begin, end = report.marks("figures")
    path.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    report.write(path, "figures", "new")
    report.write(path, "figures", "newer")
    assert path.read_text(encoding="utf-8") == f"before\n{begin}\n\nnewer\n\n{end}\nafter\n"


def test_processor_time_is_what_was_used_between_two_looks_the_largest_first() -> None:
    spent = ms_per_task({"kafka": 1.0, "api": 2.0}, {"kafka": 1.5, "api": 2.0, "new": 1.0}, 1000)
    assert list(spent.items()) == [("total", 1.5), ("new", 1.0), ("kafka", 0.5)]
