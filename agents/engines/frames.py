"""How an engine process and its owner talk: pickled messages, each after its length in four bytes.

Pickle is safe here only because both ends are one program on one machine, joined by a private pipe.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

HEADER = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Start:
    """First message to an engine process: how to be."""

    parent_pid: int
    #: Imported once at start, so that the first call does not pay for it.
    modules: tuple[str, ...] = ()
    #: Bound on the process's data (RLIMIT_DATA); None: none.
    memory_bytes_max: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """Run `module.name(*args)`; `args` are pickled apart, so that one that cannot be read fails its call alone."""

    module: str
    name: str
    args: bytes
    #: Counts the calls of one process from 1.
    number: int = 1


@dataclass(frozen=True, slots=True)
class AskToYield:
    """The call of this number is to stop at its next checkpoint, if it has one and still runs."""

    number: int


@dataclass(frozen=True, slots=True)
class Report:
    """The running call says how far it is; see `agents.engines.reporting`."""

    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Returned:
    """The call's value."""

    value: object


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The call stopped at a checkpoint, since it was asked to; `checkpoint` is the JSON text to go on from."""

    checkpoint: str


@dataclass(frozen=True, slots=True)
class Raised:
    """The call's exception: itself where it is a TaskError, else its type and message."""

    error: Exception | None
    kind: str
    message: str


def encode(message: object) -> bytes:
    """The message as it goes over the pipe."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return HEADER.pack(len(body)) + body


def decode(body: bytes) -> object:
    """The message of one frame's body."""
    return pickle.loads(body)  # noqa: S301 - both ends are ours


def read_frame(stream: BinaryIO) -> object | None:
    """Next message of a blocking stream; None at its end."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    body = stream.read(length)
    return decode(body) if len(body) == length else None
