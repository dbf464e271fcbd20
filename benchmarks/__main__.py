"""What the whole path costs, and what other task queues cost: `make bench`, or `python -m benchmarks --help`.

Starts an installation of its own on free ports and a temporary folder, measures, stops it, and then drives Dramatiq
and Celery on a Redis of its own the same way. Prints one JSON document on standard output and a table for people on
standard error. Machines are noisy: only the ratios of one run say anything, and processor time a task says more than
tasks a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import profile, report
from benchmarks.backlog import backlog
from benchmarks.measures import idle_latency, raw_kafka, throughput_http, throughput_log
from benchmarks.peers import compared
from benchmarks.processes import ms_per_task, processor, used_seconds
from penstock.installation import RunningSystem
from penstock.started import started

T = TypeVar("T")


def main() -> int:
    """Run all measures; 0 unless one of them could not be taken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=10_000, help="tasks of each throughput measure")
    parser.add_argument("--warm-up", type=int, default=4_000, help="tasks of each system before it is measured")
    parser.add_argument("--samples", type=int, default=200, help="tasks of the latency measure")
    parser.add_argument("--slots", type=int, default=128, help="no-op tasks that run at a time")
    parser.add_argument("--backlog", type=int, default=0, help="tasks that wait in the measure of a long queue")
    parser.add_argument("--profile", action="store_true", help="profile the roles in one more run, by pyinstrument")
    parser.add_argument("--without-peers", action="store_true", help="measure Penstock alone")
    parser.add_argument("--output", type=Path, help="write the JSON document here too")
    parser.add_argument("--document", type=Path, help="write the table between the marks of this Markdown file")
    arguments = parser.parse_args()
    document = measure(arguments)
    text = json.dumps(document, indent=2)
    print(text, flush=True)
    table = report.table(document)
    print(f"\n{table}\n", file=sys.stderr)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    if arguments.document:
        report.write(arguments.document, report.FIGURES, table)
        if found := document.get("profile"):
            report.write(arguments.document, report.PROFILE, profile.table(found))
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """One JSON document with all figures of one run."""
    load_before = round(os.getloadavg()[0], 2)
    document = _measure_whole_path(arguments)
    if arguments.backlog:
        document["backlog"] = _measure_backlog(arguments)
    if arguments.profile:
        document["profile"] = _profile(arguments)
    peers = {"missing": "left out"}
    if not arguments.without_peers:
        peers = compared.compare(arguments.warm_up, arguments.tasks, arguments.samples)
    machine = {
        "cores": os.cpu_count(),
        "processor": processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": load_before,
        "load_after": round(os.getloadavg()[0], 2),
    }
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"at": at, "machine": machine, "slots": arguments.slots, **document, "peers": peers} | {
        "ratios": _ratios(document, peers)
    }


def _measure_whole_path(arguments: argparse.Namespace) -> dict[str, Any]:
    tasks = arguments.tasks
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, _system(folder, arguments.slots) as system:
        broker, url = system.bootstrap_servers, system.api_url
        say("warm-up")
        asyncio.run(throughput_log(broker, url, arguments.warm_up))
        say("raw aiokafka, the limit")
        limit = asyncio.run(raw_kafka(broker, 4 * tasks))
        say("idle latency over HTTP")
        latency = asyncio.run(idle_latency(url, arguments.samples))
        say("throughput, submitted over HTTP")
        over_http, http_cpu = _with_cpu(system, tasks, lambda: throughput_http(broker, url, tasks))
        say("throughput, submitted to the log")
        over_log, log_cpu = _with_cpu(system, tasks, lambda: throughput_log(broker, url, tasks))
    return {
        "raw_kafka": limit,
        "idle_latency": latency,
        "throughput_http": over_http,
        "throughput_log": over_log,
        "cpu_ms_per_task": {"log": log_cpu, "http": http_cpu},
    }


def _measure_backlog(arguments: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, waiting in (("without", 0), ("with", arguments.backlog)):
        say(f"throughput while {waiting} others wait")
        with (
            tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder,
            _system(folder, arguments.slots) as system,
        ):
            asyncio.run(throughput_log(system.bootstrap_servers, system.api_url, arguments.warm_up))
            found[name] = asyncio.run(backlog(system, arguments.slots, waiting, arguments.tasks))
    less = 1 - found["with"]["tasks_per_second"] / found["without"]["tasks_per_second"]
    return found | {"cost_percent": round(100 * less, 1)}


def _profile(arguments: argparse.Namespace) -> profile.Profile:
    say("profile of the roles")
    with (
        tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder,
        tempfile.TemporaryDirectory(prefix="penstock-bench-") as profiles,
        _system(folder, arguments.slots, profile.environment(Path(profiles))) as system,
    ):
        asyncio.run(throughput_log(system.bootstrap_servers, system.api_url, arguments.warm_up))
        return profile.profile(system, Path(profiles), arguments.tasks)


def _system(folder: str, slots: int, more: Mapping[str, str] | None = None) -> Any:
    environment = dict(more or {}) | {
        "PENSTOCK_CLASSES": json.dumps({"cpu": {"slots": slots}}),
        "PENSTOCK_MAX_QUEUE_SIZE": "1000000",
        "PENSTOCK_LOG_LEVEL": "WARNING",
    }
    return started(Path(folder), arguments=["--classes", "cpu"], environment=environment)


def _with_cpu(
    system: RunningSystem, tasks: int, take: Callable[[], Coroutine[Any, Any, T]]
) -> tuple[T, dict[str, float]]:
    before = used_seconds(system)
    figures = asyncio.run(take())
    return figures, ms_per_task(before, used_seconds(system), tasks)


def _ratios(document: dict[str, Any], peers: dict[str, Any]) -> dict[str, float]:
    rate = document["throughput_log"]["tasks_per_second"]
    bases = {
        "log_over_raw_produce": document["raw_kafka"]["produce_per_second"],
        "log_over_http": document["throughput_http"]["tasks_per_second"],
    }
    for name, figures in peers.items():
        if isinstance(figures, dict) and "tasks_per_second" in figures:
            bases[f"log_over_{name}"] = figures["tasks_per_second"]
    return {name: round(rate / base, 4) for name, base in bases.items()}


def say(what: str) -> None:
    """Progress for the person who waits; the document alone goes to standard output."""
    print(f"measuring: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
