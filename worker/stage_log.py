"""Reads the log that a tool writes. It is not trusted: what a tool has put in its place is not followed, and what it
says is cleaned before a client sees it as a line of the task.
"""
from __future__ import annotations

import codecs
import os
import re
import stat
from pathlib import Path

TAIL_BYTES = 4000
LINES = 5
LINE_CHARS = 300
LINES_WITHIN_BYTES = 16 << 10

# ECMA-48: control sequences, operating system commands, other strings, single escapes; also where the end is missing.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|"
                     r"[ -/]*[0-~])|\x9b[0-?]*[ -/]*[@-~]?")
# The folders of an absolute path. Names in a model look alike (`/model.22/conv/Conv`), hence `_hide`.
FOLDERS = re.compile(r"(?:(?<![\w.~/-])|(?<=-[BIL]))/+([^\s/:;,|'\"<>()\[\]]+)/(?:[^\s/:;,|'\"<>()\[\]]+/+)*")


def size_bytes(path: Path) -> int:
    """0 where the tool has made something else of its log, or removed it."""
    try:
        about = path.lstat()
    except OSError:
        return 0
    return about.st_size if stat.S_ISREG(about.st_mode) else 0


def read_end(path: Path, limit_bytes: int) -> bytes:
    """Empty where it is no plain file by now: a link that a tool has put there is not followed."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - limit_bytes))
            return file.read(limit_bytes)
    except OSError:
        return b""


def read_tail(path: Path, folder: Path) -> str:
    """The end of a log from a line's beginning, every state of a progress bar in a line of its own."""
    return "\n".join(_clean(line, folder) for line in _read_text(path, TAIL_BYTES).replace("\r", "\n").split("\n"))


def read_last_lines(path: Path, folder: Path) -> list[str]:
    """The last lines that say something, oldest first, as a terminal shows them: of a progress bar its last state."""
    lines: list[str] = []
    for line in reversed(_read_text(path, LINES_WITHIN_BYTES).split("\n")):
        states = (_clean(state, folder).rstrip() for state in reversed(line.split("\r")))
        if shown := next(filter(None, states), ""):
            lines.insert(0, shown[:LINE_CHARS])
        if len(lines) == LINES:
            break
    return lines


def _read_text(path: Path, limit_bytes: int) -> str:
    """The end of a log, from a line's beginning; a character that is not wholly written yet is left out."""
    data = read_end(path, limit_bytes + 1)
    if len(data) > limit_bytes:
        data = re.split(rb"[\r\n]", data, maxsplit=1)[-1][-limit_bytes:]
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data)


def _clean(line: str, folder: Path) -> str:
    """Without escape sequences, control characters, and this machine's folders (`folder` is the stage's own)."""
    plain = "".join(char if char.isprintable() else " " * char.isspace() for char in ESCAPES.sub("", line))
    return FOLDERS.sub(_hide, plain.replace(f"{folder}/", ""))


def _hide(found: re.Match[str]) -> str:
    return "…/" if os.path.lexists(f"/{found[1]}") else found[0]
