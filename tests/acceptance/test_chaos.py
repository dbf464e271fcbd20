"""A short run of the chaos suite; `make chaos` is the long one, and docs/chaos.md says what it is about."""

import os
from pathlib import Path

import pytest

from tests.chaos.run import Options, run

SEED = int(os.environ.get("PENSTOCK_TEST_SEED", "1"))


@pytest.mark.slow
# Longer than a run may need to come to rest, so that a run that does not is judged.
@pytest.mark.timeout(600)
def test_all_promises_hold_while_everything_breaks(services_dir: Path) -> None:
    folder = services_dir / "chaos"
    folder.mkdir()
    report = run(Options(seed=SEED, seconds=16.0, tasks=400, pace_seconds=2.0), folder)
    assert report.broken == {}, f"{report}\n{report.blows}"
    assert report.figures["tasks accepted"] == 400
