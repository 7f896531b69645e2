"""An object as an HTTP answer, whole or the part that was asked for (RFC 9110, sections 13 and 14)."""
from __future__ import annotations

import flask

from shared.errors import NotFound, RangeNotSatisfiable
from shared.files import FileInfo, Files

ATTEMPTS = 3  # of an object that is written meanwhile


def object_response(request: flask.Request, files: Files, path: str, content_type: str,
                    max_bytes: int) -> flask.Response | None:
    """200, 206, or 304 where the client has it already; None where there is no object. It is held in memory.

    Several ranges, or one that makes no sense, are answered as none.

    Raises:
        RangeNotSatisfiable: the range lies beyond the end.
    """
    try:
        response = _part(request, files, path) or _response(*files.read_range(path, 0, max_bytes))
    except NotFound:
        return None
    response.content_type = content_type
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response.make_conditional(request)  # 304


def _part(request: flask.Request, files: Files, path: str) -> flask.Response | None:
    """206, or None where all is wanted. Where the object is written again between the look at its size and the reading,
    the look is repeated; in the end all of it is sent, which fits any range."""
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return None
    for _ in range(ATTEMPTS):
        seen = files.stat(path)
        if seen is None or _is_another(request, seen):
            return None
        start, stop = _limits(*wanted.ranges[0], seen.size_bytes)
        read, content = files.read_range(path, start, stop - start)
        if read.etag == seen.etag:
            response = _response(read, content, 206)
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{read.size_bytes}"
            return response
    return None


def _is_another(request: flask.Request, info: FileInfo) -> bool:
    """Whether the client has parts of another object than this one."""
    condition = request.if_range
    return bool(condition.etag or condition.date) and condition.etag != info.etag


def _limits(start: int, stop: int | None, size_bytes: int) -> tuple[int, int]:
    """The first byte and the one after the last; a negative `start` counts from the end."""
    start = max(0, size_bytes + start) if start < 0 else start
    stop = size_bytes if stop is None else min(stop, size_bytes)
    if start >= stop:
        raise RangeNotSatisfiable(size_bytes)
    return start, stop


def _response(info: FileInfo, content: bytes, status: int = 200) -> flask.Response:
    response = flask.Response(content, status)
    response.set_etag(info.etag)
    return response
