"""The figures of a run as a table, and the place of tables in docs/performance.md. Pure but for that file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: What stands between marks of these names is written by a benchmark.
FIGURES, PROFILE = "figures", "profile"


def table(document: dict[str, Any]) -> str:
    """Markdown of one run."""
    machine = document["machine"]
    lines = [
        f"{document['at']}, {machine['cores']} cores, {machine['processor']}, Python {machine['python']}; "
        f"load of the machine before and after: {machine['load_before']}, {machine['load_after']}.",
        "",
        "| | tasks/s | x Dramatiq | x Celery | idle p50 ms | p95 ms |",
        "|---|---|---|---|---|---|",
    ]
    peers = document["peers"]
    idle = document["idle_latency"]
    lines.append(_row("Penstock, through tasks-intake", document["throughput_log"], peers))
    lines.append(_row("Penstock, over HTTP", document["throughput_http"], peers, idle["p50_ms"], idle["p95_ms"]))
    for name, figures in peers.items():
        if isinstance(figures, dict) and "tasks_per_second" in figures:
            lines.append(_row(_TITLES[name], figures, peers, figures["idle_p50_ms"], figures["idle_p95_ms"]))
        else:
            lines.append(f"| {_TITLES.get(name, name)}: {figures} | | | | | |")
    lines += ["", "| processor time, ms a task | " + " | ".join(document["cpu_ms_per_task"]["log"]) + " |"]
    lines.append("|---" * (1 + len(document["cpu_ms_per_task"]["log"])) + "|")
    lines.append("| through tasks-intake | " + " | ".join(map(str, document["cpu_ms_per_task"]["log"].values())) + " |")
    if full := document.get("backlog"):
        empty, filled = full["without"], full["with"]
        lines += [
            "",
            f"With {filled['waiting']:,} tasks waiting behind them, tasks of high priority go at "
            f"{filled['tasks_per_second']} a second; with none, at {empty['tasks_per_second']}: "
            f"{full['cost_percent']} % less. The worker holds {filled['filled_mib']} MiB, and held "
            f"{filled['half_filled_mib']} MiB when half of them waited.",
        ]
    return "\n".join(lines)


def write(path: Path, name: str, text: str) -> None:
    """Put a table between the two marks of its name."""
    begin, end = marks(name)
    head, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, tail = rest.partition(end)
    path.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")


def marks(name: str) -> tuple[str, str]:
    """The comments before and after a table."""
    return f"<!-- {name}: written by `make bench` -->", f"<!-- end of {name} -->"


_TITLES = {
    "dramatiq_redis": "Dramatiq + Redis, 2 processes x 8 threads",
    "celery_redis": "Celery + Redis, 2 processes",
    "missing": "peers",
}


def _row(
    title: str, figures: dict[str, Any], peers: dict[str, Any], p50_ms: float | str = "", p95_ms: float | str = ""
) -> str:
    ratios = (_ratio(figures, peers.get(name)) for name in ("dramatiq_redis", "celery_redis"))
    return f"| {title} | {figures['tasks_per_second']:,.0f} | {' | '.join(ratios)} | {p50_ms} | {p95_ms} |"


def _ratio(figures: dict[str, Any], peer: Any) -> str:
    rate = peer.get("tasks_per_second") if isinstance(peer, dict) else None
    return f"{figures['tasks_per_second'] / rate:.2f}" if rate else "-"
