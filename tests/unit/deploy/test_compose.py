"""docker-compose.yml, on machines without Docker: the Compose Specification's schema, and the roles that exist."""

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

from penstock.cli import app
from penstock.plan import plan_roles
from penstock.settings import Settings
from streams.topics import all_topics
from tests.support.services import REPOSITORY

COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (REPOSITORY / "deploy/Dockerfile").read_text()
#: A version down to the patch, so that a build of tomorrow is the build of today.
PINNED = re.compile(r"[\w./-]+:\d+\.\d+(\.\d+)?(-[a-z]+)*")


def test_the_file_fits_the_compose_specification() -> None:
    """The schema is the specification's own, as the distribution check-jsonschema carries it; none of its code runs."""
    carrier = importlib.metadata.distribution("check-jsonschema")
    schema = Path(str(carrier.locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")))
    jsonschema.validate(COMPOSE, json.loads(schema.read_text()))


def test_the_services_are_the_roles_of_penstock_up() -> None:
    """Kafka and PostgreSQL come from images; every other process of `penstock up` is a service of the same name."""
    planned = plan_roles(Settings(kafka_bootstrap_servers="kafka:9092", database_url="postgresql://postgres/penstock"))
    assert set(OURS) == {role.name for role in planned}
    for role in planned:
        arguments = role.command[role.command.index("penstock") :]
        assert tuple(OURS[role.name]["command"][: len(arguments)]) == arguments


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_penstock_has(name: str) -> None:
    """Parsed by the very Typer application, options and all, without running it."""
    program, *arguments = OURS[name]["command"]
    assert program == "penstock"
    command = typer.main.get_group(app).commands[arguments[0]]
    command.make_context(arguments[0], arguments[1:]).close()


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_runs_as_root(name: str) -> None:
    assert SERVICES[name].get("user", "root").partition(":")[0] not in {"root", "0"}
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in SERVICES[name]["security_opt"]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    assert PINNED.fullmatch(SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_lasting_service_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if check.get("disable"):
        waiting = [other for other in SERVICES.values() if name in other.get("depends_on", {})]
        assert waiting
        assert all(other["depends_on"][name]["condition"] == "service_completed_successfully" for other in waiting)
    else:
        assert check["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_dependencies_wait_for_health_or_completion(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        disabled = SERVICES[other]["healthcheck"].get("disable", False)
        assert how["condition"] == ("service_completed_successfully" if disabled else "service_healthy")


@pytest.mark.parametrize("name", OURS)
def test_our_services_write_to_their_volume_and_nowhere_else(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["volumes"] == [f"penstock-data:{service['working_dir']}"]
    assert service["environment"]["PENSTOCK_DATA_DIR"] == service["working_dir"]


@pytest.mark.parametrize("name", OURS)
def test_settings_of_a_service_are_settings_of_ours(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in OURS[name]["environment"].items():
        monkeypatch.setenv(variable, str(value))
    known = {f"PENSTOCK_{field.upper()}" for field in Settings.model_fields}
    given = {variable.partition("__")[0] for variable in OURS[name]["environment"] if variable.startswith("PENSTOCK_")}
    assert given - known == {"PENSTOCK_READY_FILE"}
    assert Settings().replication_factor == 3


def test_an_accepted_task_survives_the_loss_of_a_broker() -> None:
    brokers = {name: service["environment"] for name, service in SERVICES.items() if name.startswith("kafka-")}
    assert len(brokers) == 3
    voters = {f"{each['KAFKA_NODE_ID']}@{name}:9093" for name, each in brokers.items()}
    for name, each in brokers.items():
        assert set(each["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")) == voters
        assert each["KAFKA_MIN_INSYNC_REPLICAS"] == 2
        assert each["KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR"] == 3
        assert each["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
        assert each["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{name}:9092"
    assert not any("min.insync.replicas" in topic.configuration() for topic in all_topics({"cpu": 1}))


def test_the_image_is_built_from_locks_and_runs_as_a_user() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert all(PINNED.fullmatch(base) for base in bases)
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1:] == ["penstock"]
    installs = [line for line in re.split(r"&&|\n(?=RUN )", DOCKERFILE) if "pip install" in line]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)


def test_the_build_has_every_file_that_the_image_copies() -> None:
    ignore = (REPOSITORY / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (REPOSITORY / source).exists()
            assert f"!{source}" in ignore
