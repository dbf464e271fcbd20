"""The OpenAPI document as one page of plain HTML: no script, nothing loaded from anywhere, readable offline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color:#1a1a1a;background:#fff}
h2{border-bottom:2px solid #ddd;margin-top:2.5rem}code,pre{font-family:ui-monospace,monospace;font-size:.9em}
pre{background:#f5f5f5;padding:.75rem;overflow:auto}details{border:1px solid #ddd;border-radius:.4rem;margin:.5rem 0}
summary{cursor:pointer;padding:.5rem .75rem}details>div{padding:0 .75rem .75rem}
table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #eee;padding:.3rem;text-align:left;vertical-align:top}
.method{font-weight:700;text-transform:uppercase;display:inline-block;min-width:4.5rem}
@media(prefers-color-scheme:dark){body{color:#eee;background:#111}pre{background:#222}td,th,details{border-color:#333}
a{color:#8ab4ff}}
"""
#: The page needs nothing but its own style.
SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(document: Mapping[str, Any]) -> str:
    """The page for a document; every text in it is escaped."""
    info = document["info"]
    title = f"{info['title']} {info['version']}"
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>',
            f"<h1>{escape(title)}</h1><p>{escape(info['description'])}</p>",
            '<p>The same as a machine reads it: <a href="openapi.json">openapi.json</a></p>',
            *_operations(document),
            *_problems(document),
            *_schemas(document),
            "</body></html>",
        ]
    )


def _operations(document: Mapping[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'].capitalize())}</h2>"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(path, method, operation)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<details id="{escape(operation["operationId"])}"><summary><span class="method">{escape(method)}</span> '
    yield f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary><div>"
    if operation["parameters"]:
        yield "<h4>Parameters</h4><table>"
        for parameter in operation["parameters"]:
            name = f"<code>{escape(parameter['name'])}</code> in {escape(parameter['in'])}"
            what = escape(parameter.get("description", ""))
            yield f"<tr><td>{name}</td><td>{what}</td><td>{_shape(parameter['schema'])}</td></tr>"
        yield "</table>"
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]
        yield from (f"<p>Body, {escape(kind)}: {_shape(body['schema'])}</p>" for kind, body in content.items())
    yield "<h4>Answers</h4><table>"
    for status, answer in sorted(operation["responses"].items()):
        reference = answer.get("$ref", "").rpartition("/")[2]
        link = f'<a href="#{escape(reference)}">problem</a>' if reference else escape(answer["description"])
        shapes = " ".join(_shape(body["schema"]) for body in answer.get("content", {}).values())
        yield f"<tr><td>{escape(status)}</td><td>{link}</td><td>{shapes}</td></tr>"
    yield "</table></div></details>"


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Problems</h2><table>"
    for name, response in document["components"]["responses"].items():
        yield f'<tr id="{escape(name)}"><td>{escape(name.removeprefix("Problem"))}</td>'
        yield f"<td>{escape(response['description'])}</td></tr>"
    yield "</table>"


def _schemas(document: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Schemas</h2>"
    for name, schema in document["components"]["schemas"].items():
        text = escape(json.dumps(schema, indent=2, ensure_ascii=False))
        yield f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        yield f"<div><pre>{text}</pre></div></details>"


def _shape(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}"><code>{name}</code></a>'
    return f"<code>{escape(json.dumps(schema, ensure_ascii=False))}</code>"
