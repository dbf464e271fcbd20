"""The `penstock` command: one Typer application, put together from `penstock/commands`."""

import os
import signal
import sys
import traceback

import typer
from rich.console import Console

from domain.errors import PenstockError
from penstock.commands import (
    doctor,
    models,
    roles,
    scheduler,
    schedules,
    simulate,
    streams,
    task_control,
    tasks,
    up,
    workflows,
)
from penstock.errors import OperatorError

#: For what nobody foresaw, so that 1 keeps its meaning (`replay --verify`: they differ). Source: BSD, sysexits.h.
BUG_STATUS = 70

app = typer.Typer(
    name="penstock",
    help="An event-sourced scheduler for AI tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (up, tasks, workflows, schedules, task_control, scheduler, models, simulate, streams, doctor, roles):
    module.register(app)


def main() -> None:
    """Run the command line; every expected error is one sentence and an exit status, never a traceback."""
    try:
        app()
    except PenstockError as error:
        errors = Console(stderr=True, soft_wrap=True, highlight=False)
        if isinstance(error, OperatorError):
            errors.print(f"[bold red]penstock:[/] {_plain(error.problem)}")
            if error.remedy:
                errors.print(_plain(error.remedy))
            sys.exit(error.exit_code)
        errors.print(f"[bold red]penstock:[/] {_plain(str(error))}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        # The reader of our output (`head`, say) has gone; what is left in the buffer must not raise at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except Exception:
        traceback.print_exc()
        sys.exit(BUG_STATUS)


def _plain(text: str) -> str:
    """Brackets in a message are not markup."""
    return text.replace("[", r"\[")
