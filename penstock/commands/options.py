"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.installation import Installation, RunningSystem
from penstock.settings import load

Data = Annotated[Path | None, typer.Option("--data", help="The data folder.", show_default=False)]
Config = Annotated[
    Path | None, typer.Option("--config", help="A settings file, YAML or JSON.", exists=True, show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def running_system(data: Path | None, config: Path | None = None) -> RunningSystem:
    """The system that runs on the data folder that flags, environment or file name.

    Raises: NotRunning.
    """
    return Installation(load(config, data_dir=data).data_dir).running()
