"""What a tool says, made fit for clients: plain lines, without escape sequences, control characters, folders of this
machine, addresses in its memory, and the frames of stack traces.

The one place for it: a task's last lines, the end of a failed stage's log, the log that GET /tasks/{task_id}/log
answers, and the texts of a stage's error all come through here. The worker's own log has a failed stage's end as the
tool wrote it.
"""
from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

from shared.rules.bilingual import without_addresses

MAX_HELD_CHARS = 64 << 10  # of a line without an end; a longer one is broken there

# ECMA-48: control sequences, operating system commands, other strings, single escapes; also where the end is missing.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|"
                     r"[ -/]*[0-~])|\x9b[0-?]*[ -/]*[@-~]?")
# The folders of an absolute path. Names in a model look alike (`/model.22/conv/Conv`), hence `_hide`.
FOLDERS = re.compile(r"(?:(?<![\w.~/-])|(?<=-[BIL]))/+([^\s/:;,|'\"<>()\[\]]+)/(?:[^\s/:;,|'\"<>()\[\]]+/+)*")

# Python's stack traces. A tool may put words of its own before each line (`E load_onnx: `).
_BEGINNING = re.compile(r"(?:Exception Group )?Traceback|Current thread|Thread ")
_FRAME = re.compile(r"[^\"]*\", line \d+(?:,? in .*)?")
_BETWEEN = ("During handling of the above exception, another exception occurred:",
            "The above exception was the direct cause of the following exception:")
_ENDS = re.compile(r"(\r\n|\r|\n)")


def clean_line(line: str, folder: Path) -> str:
    """One line in plain text; `folder` is the stage's own."""
    plain = ESCAPES.sub("", line)
    if not plain.isprintable():
        plain = "".join(char if char.isprintable() else " " * char.isspace() for char in plain)
    return without_addresses(FOLDERS.sub(_hide, plain.replace(f"{folder}/", "")))


def _hide(found: re.Match[str]) -> str:
    return "…/" if os.path.lexists(f"/{found[1]}") else found[0]


class TraceFilter:
    """Takes the frames out of stack traces, line by line. What a trace ends with stays: it says what went wrong."""

    def __init__(self) -> None:
        self._before: str | None = None  # within a trace: what the tool puts before each line

    def pass_on(self, line: str) -> str | None:
        """What is left of the line, or None where nothing is."""
        if self._before is not None and self._is_inner(line, self._before):
            return None
        head, found, end = line.rpartition("(most recent call ")
        if found and end.rstrip() in ("last):", "first):"):
            self._before = _BEGINNING.split(head, maxsplit=1)[0]
            return self._before.rstrip() if self._before.strip(" |+-:") else None
        head, found, end = line.partition('File "')
        if found and head.endswith("  ") and _FRAME.fullmatch(end.rstrip()):  # the trace began before the first line
            self._before = head.rstrip()
            return None
        self._before = None
        return None if line.rstrip().endswith(_BETWEEN) else line

    @staticmethod
    def _is_inner(line: str, before: str) -> bool:
        return line[:1].isspace() or (line.startswith(before) and line[len(before):len(before) + 1].isspace())


class LogCleaner:
    """A log that comes in pieces. Lines are given as soon as they are whole, and never changed afterwards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._traces = TraceFilter()
        self._held = ""

    def take(self, data: bytes, ended: bool = False) -> str:
        """The clean lines that end in `data`. With `ended` nothing comes after it, and the last line needs no end.

        Every state of a progress bar is a line of its own.
        """
        *ends, self._held = _ENDS.split(self._held + self._decoder.decode(data))
        if ends and ends[-1] == "\r" and not self._held and not ended:
            self._held = "".join(ends[-2:])  # perhaps the half of a line's end
            del ends[-2:]
        given = "".join(self._line(line, end) for line, end in zip(ends[::2], ends[1::2], strict=True))
        if ended or len(self._held) > MAX_HELD_CHARS:
            given += self._line(self._held, "" if ended else "\n")
            self._held = ""
        return given

    def _line(self, line: str, end: str) -> str:
        shown = self._traces.pass_on(clean_line(line, self._folder))
        if shown is None or (not shown.strip() and end == "\r"):  # a bar's line begins anew
            return ""
        return shown + ("\n" if end else "")
