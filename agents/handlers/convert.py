"""Converts structured text from one format to another: JSON, YAML, XML and CSV, in every direction.

Content is read into the values of JSON and written from them; see the modules of `agents.handlers.formats` for how
each format stands for them. What holds:

* JSON and YAML keep every value, whichever of them it came from.
* JSON to XML and back gives the same value, for every value. XML of others keeps its elements, attributes and text;
  comments, processing instructions, the order of text among elements and of unlike elements are lost.
* A list of objects that share their keys comes back the same from CSV; any other value becomes a table, one way.
* CSV read and written again has the same cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.context import TaskContext
from agents.handlers.formats import csv_format, json_format, xml_reader, xml_writer, yaml_format
from agents.handlers.formats.values import Value, check_output
from agents.handlers.registry import handler

Format = Literal["json", "yaml", "xml", "csv"]

#: Longer content is converted in an engine process: it would hold up everything else on the event loop.
INLINE_CHARACTERS_MAX = 16 * 1024

READERS: Mapping[Format, Callable[[str], Value]] = {
    "json": json_format.read,
    "yaml": yaml_format.read,
    "xml": xml_reader.read,
    "csv": csv_format.read,
}
WRITERS: Mapping[Format, Callable[[Value], str]] = {
    "json": json_format.write,
    "yaml": yaml_format.write,
    "xml": xml_writer.write,
    "csv": csv_format.write,
}


class ConvertPayload(BaseModel):
    """What to convert, from what, into what. The same format twice normalises the text."""

    model_config = ConfigDict(extra="forbid")

    source_format: Format = Field(description="Format of the content")
    target_format: Format = Field(description="Format wanted")
    content: str = Field(description="The text to convert")


def convert_content(source_format: Format, target_format: Format, content: str) -> str:
    """The content in the target format. Blocks.

    Raises:
        TaskError: `invalid_content`, with line and column where they are known; `result_too_large`.
    """
    return check_output(WRITERS[target_format](READERS[source_format](content)))


@handler("convert", resource_class="cpu", payload=ConvertPayload)
async def convert(payload: ConvertPayload, ctx: TaskContext) -> Mapping[str, object]:
    """Convert a text between JSON, YAML, XML and CSV."""
    arguments = (payload.source_format, payload.target_format, payload.content)
    if len(payload.content) <= INLINE_CHARACTERS_MAX:
        return {"converted_content": convert_content(*arguments)}
    return {"converted_content": await ctx.run_in_process(convert_content, *arguments)}
