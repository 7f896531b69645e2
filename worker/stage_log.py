"""Reads the log that a tool writes. It is not trusted: what a tool has put in its place is not followed, and what it
says is cleaned before a client sees it as a line of the task.
"""
from __future__ import annotations

import codecs
import os
import re
import stat
from pathlib import Path

from worker.log_cleaning import LogCleaner, TraceFilter, clean_line

TAIL_BYTES = 4000
LINES = 5
LINE_CHARS = 300
LINES_WITHIN_BYTES = 16 << 10

_LINE_END = re.compile(rb"[\r\n]")
PASSED_OVER = "…\n".encode()  # a line for what is left out


def size_bytes(path: Path) -> int:
    """0 where the tool has made something else of its log, or removed it."""
    try:
        about = path.lstat()
    except OSError:
        return 0
    return about.st_size if stat.S_ISREG(about.st_mode) else 0


def read_end(path: Path, limit_bytes: int) -> bytes:
    """Empty where it is no plain file by now: a link that a tool has put there is not followed."""
    size = size_bytes(path)
    return _read(path, max(0, size - limit_bytes), limit_bytes) if size else b""


def read_on(path: Path, position: int, limit_bytes: int) -> tuple[bytes, int]:
    """What was written since `position`, and the position after it.

    A log that has become shorter is read from its beginning. Of more than `limit_bytes` the last are read, and a line
    tells that some are passed over.
    """
    size = size_bytes(path)
    if size < position:
        position = 0
    if size - position <= limit_bytes:
        data = _read(path, position, size - position) if size > position else b""
        return data, position + len(data)
    position = size - limit_bytes
    data = _read(path, position, limit_bytes)
    return b"\n" + PASSED_OVER + _LINE_END.split(data, maxsplit=1)[-1], position + len(data)


def _read(path: Path, position: int, length: int) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            file.seek(position)
            return file.read(length)
    except OSError:
        return b""


def read_tail(path: Path, folder: Path) -> str:
    """The end of a log from a line's beginning, every state of a progress bar in a line of its own."""
    return LogCleaner(folder).take(_read_lines(path, TAIL_BYTES), ended=True)


def read_last_lines(path: Path, folder: Path) -> list[str]:
    """The last lines that say something, oldest first, as a terminal shows them: of a progress bar its last state."""
    lines: list[str] = []
    traces = TraceFilter()
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(_read_lines(path, LINES_WITHIN_BYTES))
    for line in text.split("\n"):  # a character that is not wholly written yet is left out
        states = (clean_line(state, folder).rstrip() for state in reversed(line.split("\r")))
        if shown := traces.pass_on(next(filter(None, states), "")):
            lines.append(shown[:LINE_CHARS])
    return lines[-LINES:]


def _read_lines(path: Path, limit_bytes: int) -> bytes:
    """The end of a log, from a line's beginning."""
    data = read_end(path, limit_bytes + 1)
    return _LINE_END.split(data, maxsplit=1)[-1][-limit_bytes:] if len(data) > limit_bytes else data
