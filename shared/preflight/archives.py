"""A zip's directory and the headers of its first arrays, by byte ranges; the rest of its content is not read."""
from __future__ import annotations

import codecs
import io
import stat
import zipfile
import zlib
from typing import Any

from shared.preflight import arrays, reasons
from shared.preflight.limits import MAX_ARRAYS, MAX_RANGE_BYTES
from shared.rules.calibration import is_folder
from shared.rules.onnx.bounds import MAX_READ_BYTES, Incomplete
from shared.rules.onnx.wire import Ask

codecs.lookup("cp437")  # of members' names; later nothing can be imported any more


class _OutsideOfFile(OSError):
    """What a real file says to such a seek, and zipfile expects."""


class _RangeFile(io.RawIOBase):
    def __init__(self, ask: Ask, size: int) -> None:
        self._ask, self._size, self._at, self._left = ask, size, 0, MAX_READ_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise _OutsideOfFile("it ends too early")
        self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), MAX_RANGE_BYTES, self._size - self._at))
        self._left -= length
        if self._left < 0:
            raise Incomplete(reasons.DIRECTORY_TOO_LARGE(mib=MAX_READ_BYTES >> 20))
        data = self._ask(self._at, length) if length else b""
        buffer[:len(data)] = data
        self._at += len(data)
        return len(data)


def read_archive(ask: Ask, size: int) -> dict[str, Any]:
    """`{"members": [[name, bytes, is a link]], "arrays": {name: see `arrays`}}`, or `{"error"}`. Folders are left out.

    Raises:
        Incomplete.
    """
    try:
        with zipfile.ZipFile(io.BufferedReader(_RangeFile(ask, size), 1 << 16)) as archive:
            members = [member for member in archive.infolist() if not is_folder(member.filename)]
            encrypted = next((member.filename for member in members if member.flag_bits & 1), None)
            if encrypted is not None:
                return {"error": f"File {encrypted!r} is encrypted, password required for extraction"}
            found = [member for member in members if member.filename.lower().endswith(".npy")][:MAX_ARRAYS]
            return {"members": [[member.filename, member.file_size, stat.S_ISLNK(member.external_attr >> 16)]
                                for member in members],
                    "arrays": {member.filename: _read_member(archive, member) for member in found}}
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, ValueError,
            _OutsideOfFile) as error:
        return {"error": str(error)[:500]}


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> dict[str, Any]:
    with archive.open(member) as file:
        return arrays.parse_array(file.read(arrays.FIRST_BYTES), member.file_size)
