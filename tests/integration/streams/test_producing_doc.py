"""What docs/producing.md shows works: its Python runs as a stranger's program, and its tasks arrive."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from agents.handlers.convert import ConvertPayload
from domain.catalogue import Catalogue, TaskType
from schemas.codec import decode
from schemas.events import TaskSubmitted
from schemas.submission import Submission
from streams import topics
from tests.support import doors
from tests.support.doors import Doors, eventually, records

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "producing.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
SHELL = re.findall(r"^```sh\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
EXPECTED = {"order-1001-to-yaml": 3, "order-1002-to-xml": 2, "order-1003-to-xml": 2, "order-1004-to-csv": 2}


@pytest.mark.external_service
async def test_the_programs_submit_their_tasks(kafka: str, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "CATALOGUE", Catalogue([TaskType("convert", "doorcpu", ConvertPayload)]))
    system = Doors(kafka, database)
    await system.prepare()
    assert len(PYTHON) == 3
    async with system.intake():
        for program in PYTHON:
            environment = os.environ | {"KAFKA_BOOTSTRAP_SERVERS": kafka}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", program), cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
            )
            _, errors = await process.communicate()
            assert process.returncode == 0, errors.decode()

        async def arrived() -> bool:
            return set(EXPECTED) <= set(await priorities(kafka))

        await eventually(arrived, "the tasks of the document")
    found = await priorities(kafka)
    assert {name: found[name] for name in EXPECTED} == EXPECTED


async def priorities(kafka: str) -> dict[str, int]:
    """Priority of each task of the document that lies on a class topic."""
    found = {}
    for name in topics.class_topics("doorcpu"):
        for record in await records(kafka, name, lambda record: b"order-100" in (record.key or b"")):
            message = decode(record.value)
            assert isinstance(message, TaskSubmitted)
            found[message.task_id] = message.priority
    return found


def test_the_shells_json_is_a_submission() -> None:
    (line,) = [line for block in SHELL for line in block.splitlines() if line.startswith("echo")]
    quoted = re.search(r"'(.*)'", line)
    assert quoted is not None
    submission = Submission.model_validate(json.loads(quoted[1]))
    ConvertPayload.model_validate(submission.payload)


def test_every_field_of_a_submission_is_explained() -> None:
    explained = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert explained == set(Submission.model_fields)
