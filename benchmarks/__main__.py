"""What the whole path costs: `python -m benchmarks --output result.json`, or `make bench`.

Starts an installation of its own on free ports and a temporary folder, measures, prints one JSON document, and stops.
In the same run, on the same broker, raw aiokafka shows what the log alone can do: the machines are noisy, so only the
ratios of one run say anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measures import idle_latency, raw_kafka, throughput_http, throughput_log
from penstock.started import started


def main() -> int:
    """Run all measures; 0 unless one of them could not be taken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=5_000, help="tasks of each throughput measure")
    parser.add_argument("--samples", type=int, default=200, help="tasks of the latency measure")
    parser.add_argument("--slots", type=int, default=64, help="no-op tasks that run at a time")
    parser.add_argument("--output", type=Path, help="write the JSON document here too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        document = measure(Path(folder), arguments.tasks, arguments.samples, arguments.slots)
    text = json.dumps(document, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    return 0


def measure(folder: Path, tasks: int, samples: int, slots: int) -> dict[str, object]:
    """One JSON document with all figures of one run."""
    environment = {
        "PENSTOCK_CLASSES": json.dumps({"cpu": {"slots": slots}}),
        "PENSTOCK_MAX_QUEUE_SIZE": "1000000",
        "PENSTOCK_LOG_LEVEL": "WARNING",
    }
    with started(folder, arguments=["--classes", "cpu"], environment=environment) as system:
        say("raw aiokafka, the limit")
        limit = asyncio.run(raw_kafka(system.bootstrap_servers, 4 * tasks))
        say("idle latency over HTTP")
        latency = asyncio.run(idle_latency(system.api_url, samples))
        say("throughput, submitted over HTTP")
        over_http = asyncio.run(throughput_http(system.api_url, tasks))
        say("throughput, submitted to the log")
        over_log = asyncio.run(throughput_log(system.bootstrap_servers, system.api_url, tasks))
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "slots": slots,
        "raw_kafka": limit,
        "idle_latency": latency,
        "throughput_http": over_http,
        "throughput_log": over_log,
        "ratios": {
            "log_over_raw_produce": round(over_log["tasks_per_second"] / limit["produce_per_second"], 4),
            "log_over_http": round(over_log["tasks_per_second"] / over_http["tasks_per_second"], 3),
        },
    }


def say(what: str) -> None:
    """Progress for the person who waits; the document alone goes to standard output."""
    print(f"measuring: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
