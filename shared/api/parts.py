"""Answers in part: `Range` and the conditions that go with it, by RFC 9110."""
from __future__ import annotations

import flask
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from shared.errors import OtherVersion, RangeNotSatisfiable
from shared.texts import Text

EMPTY = {304: Text("客户端已有此内容 (If-None-Match)", "the client has this content already (If-None-Match)")}
HEADERS = {"Range": Text("只取一段字节, 如 bytes=4096-", "a part of the bytes, as in bytes=4096-"),
           "If-Range": Text("仅当内容仍为此 ETag 时才只取一段", "the part only if the content still has this ETag"),
           "If-Match": Text("仅当内容仍为此 ETag 时才返回", "the content only if it still has this ETag"),
           "If-None-Match": Text("已有内容的 ETag", "the ETag of the content that the client has")}


def answer_in_part(response: flask.Response, request: flask.Request, size_bytes: int) -> flask.Response:
    """206 for one range of bytes, 304 for a client that has this content already. The response has its ETag.

    Werkzeug makes the part. Before, six cases are put right that it answers otherwise than RFC 9110 allows or wants: no
    part of another version than the client's is sent, `If-Match: *` fits every version, several ranges or a malformed
    one are ignored, a range means nothing to HEAD, a suffix longer than the content is all of it, and no range of an
    empty content can be satisfied.

    Raises:
        OtherVersion: the client's If-Match is not the ETag.
        RangeNotSatisfiable: the content is not that long.
    """
    environ, wanted = dict(request.environ), request.range
    if request.if_match and not request.if_match.contains(response.get_etag()[0] or ""):
        raise OtherVersion("内容已是另一版本 (If-Match)", "the content is of another version by now (If-Match)")
    environ.pop("HTTP_IF_MATCH", None)
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1 or request.method == "HEAD":
        environ.pop("HTTP_RANGE", None)
    elif size_bytes == 0:
        raise RangeNotSatisfiable(0)
    elif wanted.ranges[0][0] < -size_bytes:
        environ["HTTP_RANGE"] = "bytes=0-"
    try:
        response.make_conditional(environ, accept_ranges=True, complete_length=size_bytes)
    except RequestedRangeNotSatisfiable as error:
        raise RangeNotSatisfiable(size_bytes) from error
    return response


def chosen_part(response: flask.Response, size_bytes: int) -> tuple[int, int]:
    """Where the part of an answer of `answer_in_part` begins, and where it ends."""
    part = response.content_range
    if response.status_code != 206 or part.start is None or part.stop is None:
        return 0, size_bytes
    return part.start, part.stop
