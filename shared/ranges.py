"""An object as an HTTP answer, whole or the part that was asked for (RFC 9110, 13 and 14)."""
from __future__ import annotations

import flask

from shared.errors import RangeNotSatisfiable
from shared.files import FileInfo, Files

ATTEMPTS = 3  # of an object that is written meanwhile


def object_response(request: flask.Request, files: Files, path: str, content_type: str,
                    max_bytes: int) -> flask.Response | None:
    """200, 206, or 304 where the client has it already; None where there is no object. It is held in memory.

    A range that makes no sense, or several, are answered as none. Where the object is written again between the look at
    its size and the reading, the look is repeated; in the end all of it is sent, which fits any range.

    Raises:
        RangeNotSatisfiable: the range lies beyond the end.
        NotFound: it was deleted just now.
    """
    for _ in range(ATTEMPTS):
        seen = files.stat(path)
        if seen is None:
            return None
        part = _wanted(request, seen)
        if part is None:
            break
        start, stop = part
        read, content = files.read_range(path, start, stop - start)
        if read.etag == seen.etag:
            response = _response(request, read, content, content_type, 206)
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{read.size_bytes}"
            return response
    read, content = files.read_range(path, 0, max_bytes)
    return _response(request, read, content, content_type, 200)


def _wanted(request: flask.Request, info: FileInfo) -> tuple[int, int] | None:
    """The first byte and the one after the last, or None for all."""
    wanted, condition = request.range, request.if_range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return None
    if (condition.etag or condition.date) and condition.etag != info.etag:
        return None
    start, stop = wanted.ranges[0]
    start = max(0, info.size_bytes + start) if start < 0 else start
    stop = info.size_bytes if stop is None else min(stop, info.size_bytes)
    if start >= stop:
        raise RangeNotSatisfiable(info.size_bytes)
    return start, stop


def _response(request: flask.Request, info: FileInfo, content: bytes, content_type: str,
              status: int) -> flask.Response:
    response = flask.Response(content, status, content_type=content_type)
    response.set_etag(info.etag)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.make_conditional(request)  # 304
    return response
