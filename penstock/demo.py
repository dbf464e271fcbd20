"""`make demo`: the jobs in `examples/` on a system of their own, each shown moving through its states, live.

Exits 0 when every task completed, 1 otherwise. The results lie in `demo-output/` afterwards.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from domain.states import STATE_AFTER
from penstock.client import TERMINAL, Client, connected
from penstock.started import started

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLES = REPOSITORY / "examples"
OUTPUT = REPOSITORY / "demo-output"
DATA = REPOSITORY / ".penstock" / "demo"
#: The longest that all jobs together may take.
JOBS_SECONDS_MAX = 240.0
POLL_SECONDS = 0.05
COLOURS = {"completed": "green", "failed": "red", "cancelled": "red", "rejected": "red", "expired": "red"}


@dataclass(slots=True)
class Job:
    """One example, and what has become of it so far."""

    name: str
    submission: Mapping[str, Any]
    #: Field of the result that is the output, and the file that it is written to.
    output_field: str
    output_file: str
    task_id: str = ""
    states: list[str] = field(default_factory=list)
    task: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """No further state follows."""
        return bool(self.states) and self.states[-1] in TERMINAL

    @property
    def completed(self) -> bool:
        """It has its result."""
        return bool(self.states) and self.states[-1] == "completed"


def main() -> int:
    """Run the demo; the exit status."""
    console = Console(highlight=False, soft_wrap=True)
    shutil.rmtree(DATA, ignore_errors=True)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    environment = {
        "PENSTOCK_LLM__MODEL_PATH": "demo",
        "PENSTOCK_LLM__WARM_UP": "true",
        "PENSTOCK_FILES_DIR": str(EXAMPLES),
    }
    console.print("[bold]Starting[/] Apache Kafka, PostgreSQL and every role")
    begun = time.monotonic()
    with started(DATA, environment=environment, output=sys.stdout) as system, connected(system.api_url) as client:
        console.print(f"[bold]Ready[/] after {time.monotonic() - begun:.0f} s; submitting the jobs in examples/\n")
        jobs = load_jobs(system.api_url)
        watch(client, jobs, console)
        for job in jobs:
            show_result(job, console)
        console.print("\n[bold]Stopping[/]")
    failed = [job.name for job in jobs if not job.completed]
    if failed:
        console.print(f"[red]not completed: {', '.join(failed)}; logs lie in {DATA / 'logs'}")
        return 1
    console.print(f"[green]All {len(jobs)} tasks completed.[/]")
    console.print(f"Results lie in {OUTPUT.relative_to(REPOSITORY)}/, logs in {DATA.relative_to(REPOSITORY)}/logs/.")
    return 0


def load_jobs(api_url: str) -> list[Job]:
    """The jobs of `examples/jobs.yaml`; `file:NAME` stands for that file's text, `{api}` for the system's address."""
    documents = yaml.safe_load((EXAMPLES / "jobs.yaml").read_text(encoding="utf-8"))
    return [
        Job(
            name=document["name"],
            submission=_filled_in(document["submission"], api_url),
            output_field=document["output"]["field"],
            output_file=document["output"]["file"],
        )
        for document in documents
    ]


def _filled_in(value: Any, api_url: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled_in(item, api_url) for key, item in value.items()}
    if isinstance(value, str) and value.startswith("file:"):
        return (EXAMPLES / value.removeprefix("file:")).read_text(encoding="utf-8")
    return value.replace("{api}", api_url) if isinstance(value, str) else value


def watch(client: Client, jobs: list[Job], console: Console) -> None:
    """Submit the jobs, and show their states until the last one has ended or the time is over."""
    begun = time.monotonic()
    for job in jobs:
        accepted = client.submit(job.submission)
        job.task_id = accepted["task_id"]
        job.states.append(accepted["status"])
    with Live(_table(jobs, 0.0), console=console, refresh_per_second=10) as live:
        while not all(job.ended for job in jobs) and time.monotonic() - begun < JOBS_SECONDS_MAX:
            for job in jobs:
                if not job.ended:
                    _look(client, job)
            live.update(_table(jobs, time.monotonic() - begun))
            time.sleep(POLL_SECONDS)
        for job in jobs:
            # Polling can miss a short state; the history has them all.
            events = client.history(job.task_id)["events"]
            job.states = [STATE_AFTER[event["type"]] for event in events if event["type"] in STATE_AFTER]
        live.update(_table(jobs, time.monotonic() - begun))
    console.print()


def _look(client: Client, job: Job) -> None:
    job.task = client.task(job.task_id)
    if job.task["status"] != job.states[-1]:
        job.states.append(job.task["status"])


def _table(jobs: list[Job], seconds: float) -> Table:
    table = Table(
        min_width=80,
        title=f"{sum(job.ended for job in jobs)} of {len(jobs)} ended, {seconds:.1f} s",
        title_justify="left",
    )
    for column in ("job", "type", "task", "states"):
        table.add_column(column, no_wrap=column != "states")
    for job in jobs:
        states = [Text(state, style=COLOURS.get(state, "yellow")) for state in job.states]
        table.add_row(job.name, job.submission["type"], job.task_id[:8], Text(" → ").join(states))
    return table


def show_result(job: Job, console: Console) -> None:
    """Print a job's output and write it to its file; an error is printed in its place."""
    if not job.completed:
        console.print(Panel(Text(json.dumps(job.task.get("error"), indent=2)), title=job.name, border_style="red"))
        return
    result = job.task["result"]
    output = result[job.output_field]
    text = output if isinstance(output, str) else json.dumps(output, indent=2, ensure_ascii=False)
    path = OUTPUT / job.output_file
    path.write_text(text + "\n", encoding="utf-8")
    notes = [Text(note, style="dim") for note in _notes(job, text)]
    where = Text(f"→ {path.relative_to(REPOSITORY)}", style="dim")
    console.print(
        Panel(
            Group(Text(text.strip()), *notes, where), title=f"{job.name} ({job.submission['type']})", title_align="left"
        )
    )


def _notes(job: Job, text: str) -> list[str]:
    if job.submission["type"] == "subtitle":
        spoken = (EXAMPLES / "subtitle" / "speech.txt").read_text(encoding="utf-8")
        return [f"word error rate against the text that was spoken: {_word_error_rate(spoken, text):.0%}"]
    usage = job.task["result"].get("usage")
    return [f"model {job.task['result'].get('model')}, {json.dumps(usage)}"] if usage else []


def _word_error_rate(spoken: str, srt: str) -> float:
    import jiwer

    heard = " ".join(line for line in srt.splitlines() if line and not line.isdigit() and "-->" not in line)
    rate: float = jiwer.wer(_plain(spoken), _plain(heard))
    return rate


def _plain(text: str) -> str:
    """Words alone: the recogniser knows neither case nor punctuation."""
    return " ".join(re.findall(r"[\w']+", text.lower()))


if __name__ == "__main__":
    sys.exit(main())
