"""Write docs/settings.md from the settings model: `python -m penstock.settings_doc [--check]`."""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agents.handlers.settings import HttpSettings, LlmSettings
from domain import key_grants
from penstock.settings import DEFAULT_CLASSES, ClassSettings, Settings
from schemas.models import RateLimits

DOCUMENT = Path(__file__).parents[1] / "docs" / "settings.md"
#: Settings with a section of their own.
NESTED: dict[str, type[BaseModel]] = {
    "llm": LlmSettings,
    "http": HttpSettings,
    "classes": ClassSettings,
    "limits": RateLimits,
}
FIELD = re.compile(r"^    (?P<name>\w+):")
HEAD = """# Settings

Written from `penstock/settings.py` by `python -m penstock.settings_doc`; a test compares.

A setting may stand in a YAML or JSON file (named by `--config` or `PENSTOCK_CONFIG`), in the environment, and in a flag
of `penstock`; the later is the stronger. In the environment a list is written `a,b`, and a nested setting with two
underscores: `PENSTOCK_LLM__BASE_URL`, `PENSTOCK_CLASSES__CPU__SLOTS`. `PENSTOCK_CLASSES` also takes JSON.

A secret may be a reference, `env:NAME`: it is then read from the environment variable NAME when it is used.
"""
KEYS = f"""Which environment variables `env:NAME` of a provider may name, and which addresses they may be sent to.
An address is `host`, `host:port`, or either with `http://` before it; `https` and its port are understood.
`{key_grants.LOOPBACK}` is this machine, any port; `{key_grants.PROTOCOL}NAME` a plug-in that knows its address itself.
What you give for a variable replaces what is built in for it; `[]` takes it away. `"{key_grants.ANY}"`, which counts
beside a variable's own line, is every variable whose name ends in `_KEY` and has no word in it that speaks of something
more precious, such as `SECRET`, `AWS` or `PENSTOCK`. Providers in these settings need no entry: their keys go where
they say.

```yaml
provider_keys:
  HOUSE_KEY: ["http://10.0.0.5:8000", "llm.example.com"]
  "*": []   # also not to other processes of this machine
```

In the environment: `PENSTOCK_PROVIDER_KEYS__HOUSE_KEY=http://10.0.0.5:8000,llm.example.com`, or the whole as JSON.
"""
LIMITS = """What holds until it is changed in the running system; [limits.md](limits.md) says how exact that is.

```yaml
limits:
  provider: {kimi: {concurrency: 3, requests_per_minute: 200, tokens_per_minute: 128000}}
  tenant: {"*": {concurrency: 10}, acme: {concurrency: 40}}
  node: {"*": {concurrency: 16}}
```
"""


def render() -> str:
    """The whole document.

    Raises: KeyError for a setting without its `#:` line.
    """
    built_in = ", ".join(f"`{name}` ({each.slots})" for name, each in DEFAULT_CLASSES.items())
    sections = [HEAD, "## General\n", _table(Settings, "", "PENSTOCK_")]
    sections += ["## llm\n", _table(LlmSettings, "llm.", "PENSTOCK_LLM__")]
    sections += ["## provider_keys\n", KEYS, _granted()]
    sections += ["## http\n", _table(HttpSettings, "http.", "PENSTOCK_HTTP__")]
    sections += ["## classes\n", f"Each entry is one resource class. Built in, with their slots: {built_in}.\n"]
    sections += [_table(ClassSettings, "classes.NAME.", "PENSTOCK_CLASSES__NAME__")]
    sections += ["## limits\n", LIMITS, _table(RateLimits, "limits.SCOPE.NAME.", "PENSTOCK_LIMITS__SCOPE__NAME__")]
    return "\n".join(sections)


def _granted() -> str:
    rows = (
        f"| `{name}` | {', '.join(f'`{each}`' for each in there)} |" for name, there in key_grants.WELL_KNOWN.items()
    )
    return "\n".join(("| built in | sent to |", "|---|---|", *rows)) + "\n"


def _table(model: type[BaseModel], file_prefix: str, environment_prefix: str) -> str:
    return "\n".join(_rows(model, file_prefix, environment_prefix)) + "\n"


def _rows(model: type[BaseModel], file_prefix: str, environment_prefix: str) -> Iterator[str]:
    meanings = _meanings(model)
    yield "| setting | environment | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        environment = f"`{environment_prefix}{name.upper()}`"
        default = "see below" if name in NESTED or name == "provider_keys" else _default(name, field)
        yield f"| `{file_prefix}{name}` | {environment} | {default} | {meanings[name]} |"


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """The `#:` lines above each field, as one sentence or more."""
    found: dict[str, str] = {}
    lines: list[str] = []
    for line in inspect.getsource(model).splitlines():
        field = FIELD.match(line)
        if line.startswith("    #: "):
            lines.append(line.removeprefix("    #: "))
        elif field and lines:
            found[field["name"]] = " ".join(lines).replace("|", "\\|")
            lines = []
        else:
            lines = []
    return found


def _default(name: str, field: FieldInfo) -> str:
    if name == "data_dir":
        return "`~/.local/share/penstock`"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "" if value in (None, [], ()) else f"`{value}`"


def main() -> None:
    """Write the document, or with --check fail where it is out of date."""
    if "--check" in sys.argv[1:]:
        if not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != render():
            sys.exit("docs/settings.md is out of date: run `make docs`")
        return
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
