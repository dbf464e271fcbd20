"""A recorded load beside what another strategy would have done with it, for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from domain.configuration import Configuration
from domain.simulation.concurrency import LimitKey
from domain.simulation.recording import Visit
from domain.simulation.replaying import MakeStrategy, Replayed, by_worker, slots_seen
from domain.simulation.what_if import (
    Row,
    main_strategy,
    model_all,
    recorded_waits,
    replay_all,
    rows,
    simulated_waits,
)
from domain.strategies.choice import StrategyChoice
from domain.strategies.estimates import Estimates
from domain.strategies.make import make_strategy

#: Characters of a table that nobody looks at in a terminal.
WIDTH = 200


class Report:
    """What there is to say, for people and for scripts."""

    def __init__(self, columns: list[str], found: list[Row], replayed: Replayed | None, notes: list[str]) -> None:
        self._columns, self._rows, self._replayed, self._notes = columns, found, replayed, notes

    @property
    def explained(self) -> bool:
        """Whether the recorded decisions are those of the recorded strategy."""
        return self._replayed is None or not self._replayed.different

    def show(self, as_json: bool) -> None:
        """Print it."""
        if as_json:
            typer.echo(json.dumps(self._document(), indent=2))
            return
        for note in self._notes:
            typer.echo(note)
        table = Table("wait in seconds", box=None)
        for column in self._columns:
            for figure in ("tasks", "mean", "p95", "p99"):
                table.add_column(f"{column if figure == 'tasks' else ''}\n{figure}", justify="right")
        for row in self._rows:
            cells = [
                cell
                for waits in row.waits
                for cell in (
                    str(waits.tasks),
                    f"{waits.mean_seconds:.3f}",
                    f"{waits.p95_seconds:.3f}",
                    f"{waits.p99_seconds:.3f}",
                )
            ]
            table.add_row(row.group, *cells)
        console = Console()
        # A file or a pipe is as wide as it needs to be.
        (console if console.is_terminal else Console(width=WIDTH)).print(table)

    def _document(self) -> dict[str, Any]:
        replayed = self._replayed
        return {
            "replayed": None if replayed is None else {**asdict(replayed), "starts": replayed.starts},
            "notes": self._notes,
            "rows": [
                {"group": row.group, **{c: asdict(w) for c, w in zip(self._columns, row.waits, strict=True)}}
                for row in self._rows
            ],
        }


def compare(
    visits: list[Visit],
    configuration: Configuration,
    choices: Mapping[str, StrategyChoice],
    wanted: StrategyChoice | None,
    slots: int | None,
) -> Report:
    """The recording, the recorded strategy in the simulator, and the wanted one, where it is another.

    The middle one tells what the simulator leaves out: compare the wanted strategy with it rather than with the
    recording. `choices` are the options that strategies were used with; `slots` of each worker: else what it used.
    """
    workers = by_worker(visits)
    was = main_strategy(visits)
    weights = configuration.weight_of
    limits = _limits(configuration) if len(workers) == 1 else {}
    used = choices.get(was) or StrategyChoice(was)
    columns = {"recorded": recorded_waits(visits)}
    for choice in [used] if wanted in (None, used) else [used, wanted]:
        assert choice is not None
        outcomes = model_all(workers, _makers({choice.name: choice}, weights), choice.name, slots, limits)
        label = f"{choice.name}, modelled" if choice is used or choice.name != was else f"{choice.name}, as asked"
        columns[label] = simulated_waits(outcomes)
    replayed = replay_all(workers, _makers(choices, weights))
    seen = ", ".join(str(slots or slots_seen(mine)) for mine in workers.values())
    notes = [
        f"{replayed.starts} starts, workers: {len(workers)}, mostly under {was}; slots: {seen or 'none'}.",
        f"Replayed decision by decision: {replayed.exact} in the recorded order, {replayed.behind_limits} more once "
        f"lanes are left out that limits may have closed, {len(replayed.different)} different.",
        *_left_out(configuration, limits, len(workers)),
    ]
    return Report(list(columns), rows(list(columns.values())), replayed, notes)


def maker(choices: Mapping[str, StrategyChoice], weights: Callable[[str], float]) -> MakeStrategy:
    """Makes the strategies of one worker, with the options given for each name."""
    learned = Estimates()
    return lambda name: make_strategy(choices.get(name) or StrategyChoice(name), learned, weights)


def _makers(choices: Mapping[str, StrategyChoice], weights: Callable[[str], float]) -> Callable[[], MakeStrategy]:
    return lambda: maker(choices, weights)


def _limits(configuration: Configuration) -> dict[LimitKey, int]:
    """Those that one worker holds by itself and the simulator knows; a provider's name is in no record."""
    return {
        key: limit.concurrency
        for key, limit in configuration.limits.items()
        if limit.concurrency is not None and key[0] in ("model", "type", "tenant")
    }


def _left_out(configuration: Configuration, limits: Mapping[LimitKey, int], workers: int) -> Iterable[str]:
    rates = sorted(
        f"{scope} {name}"
        for (scope, name), limit in configuration.limits.items()
        if limit.requests_per_minute is not None or limit.tokens_per_minute is not None
    )
    if rates:
        yield f"Not modelled: the rate limits of {', '.join(rates)}."
    if limits:
        yield "Modelled: " + ", ".join(f"{count} at a time for {' '.join(key)}" for key, count in limits.items()) + "."
    elif workers > 1 and any(limit.concurrency is not None for limit in configuration.limits.values()):
        yield "Not modelled: limits on what runs at a time, which several workers share."
