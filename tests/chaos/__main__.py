"""Break a whole system at random, from a seed: `python -m tests.chaos --seed 7 --seconds 300 --tasks 6000`.

Prints its seed, each blow as it falls, and one report; exits with 1 where a promise did not hold, and leaves the data
and the logs of that run for whoever wants to know why.
"""

from __future__ import annotations

import argparse
import json
import logging
import secrets
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.chaos.run import Options, run

DEFAULTS = Options(seed=0)


def main() -> int:
    """0 where all promises held."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="what breaks, and when; drawn where none is given")
    parser.add_argument("--seconds", type=float, default=DEFAULTS.seconds, help="for how long things break")
    parser.add_argument("--tasks", type=int, default=DEFAULTS.tasks, help="tasks that are submitted meanwhile")
    parser.add_argument("--workers", type=int, default=DEFAULTS.workers, help="workers that are always there")
    parser.add_argument(
        "--pace", type=float, default=DEFAULTS.pace_seconds, help="seconds from blow to blow, on average"
    )
    parser.add_argument("--output", type=Path, help="write the report as JSON here too")
    parser.add_argument("--keep", action="store_true", help="keep data and logs of a good run too")
    given = parser.parse_args()
    options = Options(
        seed=secrets.randbelow(1_000_000) if given.seed is None else given.seed,
        seconds=given.seconds,
        tasks=given.tasks,
        workers=given.workers,
        pace_seconds=given.pace,
    )
    # Clients report each attempt to reach a broker that we have just killed.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix=f"penstock-chaos-{options.seed}-"))
    print(f"seed {options.seed}: {options} in {folder}", file=sys.stderr, flush=True)
    report = run(options, folder)
    print(report)
    (folder / "report.json").write_text(json.dumps(asdict(report), indent=1), encoding="utf-8")
    if given.output:
        shutil.copyfile(folder / "report.json", given.output)
    if report.broken or given.keep:
        print(f"data and logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if report.broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
