"""Workflows on the whole system, while the process that moves them is killed."""

import json
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.installation import RunningSystem
from tests.acceptance.test_disasters import kill
from tests.acceptance.test_life import custom
from tests.support.command import penstock

pytestmark = [pytest.mark.external_service, pytest.mark.slow, pytest.mark.timeout(240)]


def ended(http: httpx.Client, workflow_id: str, seconds: float = 150) -> dict[str, Any]:
    """The workflow once all of its steps have ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = http.get(f"/api/v1/workflows/{workflow_id}", params={"wait": 10}).raise_for_status()
        workflow: dict[str, Any] = answer.json()
        if workflow["status"] in {"completed", "failed", "cancelled"}:
            return workflow
    raise TimeoutError(f"workflow {workflow_id} is still {workflow}")


def conversion(source: str, target: str, content: object) -> dict[str, Any]:
    """A step that converts a text."""
    payload = {"source_format": source, "target_format": target, "content": content}
    return {"type": "convert", "payload": payload}


def test_a_workflow_outlives_the_process_that_moves_it(http: httpx.Client, data_dir: Path) -> None:
    """SIGKILL of intake right after the answer, and again while the steps run."""
    workflow_id = f"w-{uuid.uuid4().hex[:8]}"
    converted = {"$from": "first#/converted_content"}
    steps: dict[str, Any] = {
        "first": conversion("json", "yaml", '{"a": 1}'),
        "second": conversion("yaml", "json", converted),
        "slow": custom("pause", seconds=1) | {"depends_on": ["first"]},
        "last": custom("pause", seconds=0.01) | {"depends_on": ["second", "slow"]},
    }
    response = http.post("/api/v1/workflows", json={"id": workflow_id, "steps": steps})
    assert response.status_code == 202, response.text
    kill(data_dir, "intake")
    deadline = time.monotonic() + 90
    while http.get(f"/api/v1/tasks/{workflow_id}:first").json()["status"] != "completed":
        assert time.monotonic() < deadline, "the first step"
        time.sleep(0.1)
    kill(data_dir, "intake")
    workflow = ended(http, workflow_id)
    assert workflow["status"] == "completed", workflow
    second = http.get(f"/api/v1/tasks/{workflow_id}:second").json()
    assert json.loads(second["result"]["converted_content"]) == {"a": 1}
    assert {step["attempt"] for step in workflow["steps"].values()} == {1}


def test_a_workflow_from_the_command_line(system: RunningSystem, data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(
        "steps:\n"
        "  one: {type: custom, payload: {function: pause, args: {seconds: 0.01}}}\n"
        "  two: {type: custom, depends_on: [one], payload: {function: pause, args: {seconds: 0.01}}}\n"
    )
    done = penstock("workflow", "submit", str(file), "--wait", "--data", str(data_dir), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "completed" in done.stdout
    workflow_id = done.stderr.split()[0]
    shown = penstock("workflow", "show", workflow_id, "--json", "--data", str(data_dir), cwd=tmp_path)
    assert set(json.loads(shown.stdout)["steps"]) == {"one", "two"}
    added = penstock(
        "schedule", "add", "0 3 * * *", "custom", "--payload", '{"function": "pause"}', "--id", "nightly",
        "--time-zone", "Europe/Berlin", "--data", str(data_dir), cwd=tmp_path,
    )  # fmt: skip
    assert added.stdout.strip() == "nightly", added.stderr
    assert "Europe/Berlin" in penstock("schedule", "list", "--data", str(data_dir), cwd=tmp_path).stdout
    assert penstock("schedule", "remove", "nightly", "--data", str(data_dir), cwd=tmp_path).returncode == 0
