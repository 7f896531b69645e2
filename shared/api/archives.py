"""All files of a task as one zip that is made while it is sent: nothing of it is held but the piece under way."""
from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.api.task_files import TaskFile, read_pieces
from shared.errors import NotFound
from shared.files import FileInfo, Files
from shared.task_logs import MAX_LOG_BYTES

# Readers that go from the front to the back take entries whose sizes come after them only if they are deflated. What
# is large hardly gets smaller: level 0 wraps it as it is, and costs no time.
SMALL_BYTES, SMALL_LEVEL, LARGE_LEVEL = 1 << 20, 6, 0
_FIRST_DAY = datetime(1980, 1, 1, tzinfo=UTC)  # that a zip knows
_READABLE = 0o644 << 16


@dataclass(frozen=True)
class Entry:
    """A file and what it was when it was looked at."""

    file: TaskFile
    seen: FileInfo


class _Written:
    """What a `ZipFile` has written and nobody has taken yet. It can only be appended to, as a stream."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing behind it."""

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def zip_pieces(files: Files, entries: list[Entry], made_at: float) -> Iterator[bytes]:
    """The zip of these entries, whose names differ. A log that is gone by now is left out.

    Raises:
        Conflict: a file was replaced meanwhile. What was made before is no whole zip.
        NotFound, Unavailable.
    """
    out = _Written()
    moment = max(datetime.fromtimestamp(made_at, UTC), _FIRST_DAY).timetuple()[:6]
    with zipfile.ZipFile(out, "w") as archive:  # type: ignore[call-overload]  # it needs no more of a file than this
        for entry in entries:
            pieces = _read(files, entry)
            if pieces is None:
                continue
            about = zipfile.ZipInfo(entry.file.name, moment)
            about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, _READABLE
            about.file_size = entry.seen.size_bytes  # by which it takes the form for large files
            level = SMALL_LEVEL if about.file_size <= SMALL_BYTES else LARGE_LEVEL
            about._compresslevel = level  # type: ignore[attr-defined]  # Python 3.13 has it without the underscore
            with archive.open(about, "w") as member:
                for piece in pieces:
                    member.write(piece)
                    if made := out.take():
                        yield made
    yield out.take()


def _read(files: Files, entry: Entry) -> Iterator[bytes] | None:
    if entry.file.kind != "log":
        return read_pieces(files, entry.file, entry.seen, 0, entry.seen.size_bytes)
    try:
        return iter([files.read_range(entry.file.path, 0, MAX_LOG_BYTES)[1]])
    except NotFound:
        return None
