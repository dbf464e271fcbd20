"""Runs a Python module as an engine process that dies with its parent.

`python -P launch.py PARENT_PID MODULE [ARGUMENTS]`, with standard input a pipe that the parent never writes to:
its end means that the parent is gone, which covers systems without a parent-death signal.
"""

from __future__ import annotations

import runpy
import sys
import threading
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def main() -> None:
    """Tie this process to its parent, then become the module."""
    # Loaded by its path: this folder must stay off sys.path, where its files would shadow installed packages.
    spec = spec_from_file_location("parent_death", Path(__file__).with_name("parent_death.py"))
    assert spec is not None
    assert spec.loader is not None
    parent_death = module_from_spec(spec)
    spec.loader.exec_module(parent_death)
    parent_death.die_with_parent(int(sys.argv[1]))
    threading.Thread(target=parent_death.exit_at_end_of_file, args=(sys.stdin.fileno(),), daemon=True).start()
    module = sys.argv[2]
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
