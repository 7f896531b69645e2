"""A request's body as a JSON object. The body is checked as a whole before any of it is used."""
from __future__ import annotations

import io
import json
from collections import Counter
from contextlib import suppress
from typing import Any

import flask

from shared.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from shared.validation_messages import printable

MAX_FIELDS = 4096  # of all objects of a body
CHUNK_BYTES = 64 * 1024
DRAIN_BYTES = 32 * 1024 * 1024


def read_body(request: flask.Request, max_bytes: int) -> bytes:
    """The whole body, with or without a Content-Length.

    Raises:
        PayloadTooLarge: it is longer than `max_bytes`.
        InvalidRequest: the client's transfer broke off or is malformed.
    """
    request.max_content_length = None  # counted here, with or without a declared length
    declared = request.content_length or 0
    body = bytearray()
    try:
        while declared <= max_bytes and len(body) <= max_bytes:
            chunk = request.stream.read(min(CHUNK_BYTES, max_bytes + 1 - len(body)))
            if not chunk:
                return bytes(body)
            body += chunk
    except Exception as error:  # each server raises its own for a broken transfer
        raise InvalidRequest("无法读取请求体: 传输中断或格式错误",
                             "the body cannot be read: broken off or malformed") from error
    raise PayloadTooLarge(f"请求体过大: 不得超过 {max_bytes} 字节", f"the body is too large: at most {max_bytes} bytes")


def finish_body(request: flask.Request) -> None:
    """Read the rest of the body, up to a limit, and close it to later readers.

    A client whose upload is cut off sees a reset connection instead of the answer. And functions-framework would read
    the whole rest into memory before it sends an answer.
    """
    if request.method in ("GET", "HEAD") and not request.environ.get("CONTENT_LENGTH") and (
            "HTTP_TRANSFER_ENCODING" not in request.environ):
        return  # there is none
    request.max_content_length = None
    drained = 0
    with suppress(Exception):  # a broken transfer has been answered already, or concerns nobody any more
        while drained < DRAIN_BYTES and (chunk := request.stream.read(CHUNK_BYTES)):
            drained += len(chunk)
    request.stream = io.BytesIO()


def _check_media_type(request: flask.Request) -> None:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        got = printable(encoding, 40)
        raise UnsupportedMediaType(f"不支持的 Content-Encoding: {got}, 请发送未压缩的请求体",
                                   f"unsupported Content-Encoding: {got}; send the body as it is")
    is_json = request.mimetype == "application/json" or (
        request.mimetype.startswith("application/") and request.mimetype.endswith("+json"))
    charset = request.mimetype_params.get("charset", "utf-8").lower().replace("_", "-")
    if not is_json or charset not in ("utf-8", "utf8", "us-ascii"):
        got = printable(request.headers.get("Content-Type", ""), 80) or "-"
        raise UnsupportedMediaType(f"不支持的 Content-Type: {got}, 应为 application/json (UTF-8)",
                                   f"unsupported Content-Type: {got}; should be application/json (UTF-8)")


def _no_constant(name: str) -> None:
    raise InvalidRequest(f"请求体不是有效的 JSON: 不允许 {name}", f"the body is not valid JSON: {name} is not allowed")


def _number(text: str) -> float:
    """1.0 and 1 are one number in JSON, and both an integer in its schemas. Beyond 2^53 a float has lost digits."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


class _Fields:
    """Makes each object of a body. Every wrong field is told, so their number bounds what an answer costs."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS

    def take(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = printable(next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1), 40)
            raise InvalidRequest(f"请求体中字段重复: {twice}", f"the body names a field twice: {twice}")
        self._left -= len(pairs)
        if self._left < 0:
            raise InvalidRequest(f"请求体中字段过多: 不得超过 {MAX_FIELDS} 个",
                                 f"the body has too many fields: at most {MAX_FIELDS}")
        return found


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body` (UTF-8).

    Raises:
        InvalidRequest: the body is empty, not UTF-8, not JSON (RFC 8259), not an object, names a field twice, or has
            too many.
    """
    if not body.strip():
        raise InvalidRequest("请求体不能为空, 应为 JSON 对象", "the body is missing; should be a JSON object")
    try:
        value = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_Fields().take, parse_float=_number,
                           parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"请求体不是有效的 UTF-8 (第 {error.start} 字节)",
                             f"the body is not valid UTF-8 (at byte {error.start})") from error
    except RecursionError as error:
        raise InvalidRequest("请求体嵌套过深", "the body is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"请求体不是有效的 JSON (第 {error.lineno} 行第 {error.colno} 列)",
                             f"the body is not valid JSON (line {error.lineno}, column {error.colno})") from error
    except ValueError as error:  # more digits than Python converts
        raise InvalidRequest("请求体中的数字过长", "a number in the body has too many digits") from error
    if not isinstance(value, dict):
        raise InvalidRequest("请求体应为 JSON 对象", "the body should be a JSON object")
    return value


def read_object(request: flask.Request, max_bytes: int) -> dict[str, Any]:
    """The request's JSON object.

    Raises:
        PayloadTooLarge, UnsupportedMediaType, InvalidRequest: as the functions above say.
    """
    body = read_body(request, max_bytes)
    if body:
        _check_media_type(request)
    return parse_object(body)
