"""The command line as a user meets it: a process in some folder."""

import os
import subprocess
import sys
from pathlib import Path

#: Python and its packages have to start, and services may have to be found absent.
TIMEOUT_SECONDS = 60


def penstock(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `penstock` to its end, with none of the test machine's own settings."""
    foreign = ("PENSTOCK_", "KAFKA_", "DATABASE_URL")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return subprocess.run(
        [str(Path(sys.executable).parent / "penstock"), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=outside | environment,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
