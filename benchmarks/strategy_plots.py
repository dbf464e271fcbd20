"""The plots of docs/strategies.md, from the figures of `benchmarks.strategies`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

#: Figures of each strategy, by load.
Loads = Mapping[str, Mapping[str, Mapping[str, Any]]]

_PANELS = (
    ("mean_seconds", "mean wait (s)"),
    ("p99_seconds", "99th percentile of the wait (s)"),
    ("slowdown_mean", "mean slowdown"),
    ("jain", "fairness among tenants (Jain)"),
    ("deadline_misses", "deadlines missed (share)"),
)
_COLOURS = ("#3b6fb6", "#d9822b", "#4f9d69", "#b5495b")


#: Microseconds by strategy and by what the x axis says.
Costs = Mapping[str, Mapping[str, float]]


def draw(loads: Loads, starts: Costs, permits: Costs, folder: Path) -> None:
    """Write comparison.svg and cost.svg. The same figures give the same files."""
    with mpl.rc_context({"svg.hashsalt": "penstock", "svg.fonttype": "none", "font.size": 8}):
        _save(_comparison(loads), folder / "comparison.svg")
        _save(_cost(starts, permits), folder / "cost.svg")


def _comparison(loads: Loads) -> Figure:
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = figure.subplots(2, 3).flatten()
    names = list(next(iter(loads.values())))
    height = 0.8 / len(loads)
    for panel, (key, title) in zip(panels, _PANELS, strict=False):
        for number, (load, by_strategy) in enumerate(loads.items()):
            places = [place + number * height for place in range(len(names))]
            values = [float(by_strategy[name][key]) for name in names]
            panel.barh(places, values, height, label=load, color=_COLOURS[number % len(_COLOURS)])
        panel.set_yticks([place + 0.4 - height / 2 for place in range(len(names))], names)
        panel.invert_yaxis()
        panel.set_title(title)
        if key.endswith("_seconds") or key == "slowdown_mean":
            panel.set_xscale("log")
        panel.grid(axis="x", alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    panels[-1].axis("off")
    panels[-1].legend(handles, labels, loc="center", title="load")
    return figure


def _cost(starts: Costs, permits: Costs) -> Figure:
    figure = Figure(figsize=(10, 4.0), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, costs, by, what in (
        (panels[0], starts, "tasks that wait, in 400 lanes of which half are closed", "a start and an arrival"),
        (panels[1], permits, "lanes that wait for the permits of one limit", "an end, a start and an arrival"),
    ):
        for name, found in costs.items():
            panel.plot([int(number) for number in found], list(found.values()), marker="o", markersize=3, label=name)
        panel.set_xscale("log")
        panel.set_ylim(bottom=0)
        panel.set_xlabel(by)
        panel.set_ylabel(f"µs for {what}")
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(starts))
    return figure


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
