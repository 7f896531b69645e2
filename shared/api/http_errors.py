"""The contract's error form for whatever goes wrong, in the client's language."""
from __future__ import annotations

import logging
import random
import re

import flask
from pydantic_core import to_json
from werkzeug.exceptions import HTTPException

from shared.api.json_body import finish_body
from shared.api.origins import share_with_origin
from shared.errors import AppError, InvalidRequest, MethodNotAllowed, NotFound, PayloadTooLarge, Unavailable
from shared.texts import Language
from shared.validation_messages import printable

REQUEST_ID = "X-Request-Id"
_PLAIN = re.compile("[A-Za-z0-9._-]{1,64}")

logger = logging.getLogger(__name__)


def language_of(request: flask.Request) -> Language:
    """By the q-values of Accept-Language."""
    if not request.headers.get("Accept-Language"):
        return "zh"
    return "en" if request.accept_languages.best_match(("zh", "en"), "zh") == "en" else "zh"


def json_response(request: flask.Request, payload: object, status: int = 200) -> flask.Response:
    """`payload` (JSON or pydantic models) as UTF-8, not ASCII-escaped; a NaN becomes null. A `Text` in it is
    written out in the client's language."""
    language = language_of(request)
    return flask.Response(to_json(payload, inf_nan_mode="null", context={"language": language}), status, [
        ("Content-Type", "application/json; charset=utf-8"), ("Content-Language", language),
        ("Vary", "Accept-Language"), ("Cache-Control", "no-store")])


def own_id(request: flask.Request) -> str:
    """The request's id: the client's X-Request-Id where that is a plain word, else a new one."""
    sent = request.headers.get(REQUEST_ID, "")
    return sent if sent and _PLAIN.fullmatch(sent) else f"{random.getrandbits(64):016x}"  # no secret


def marked(response: flask.Response, request: flask.Request, request_id: str) -> flask.Response:
    """With the headers that every answer to this request has, and nothing else writes."""
    response.headers.add(REQUEST_ID, request_id)
    response.headers.add("X-Content-Type-Options", "nosniff")
    share_with_origin(response, request)
    return response


def error_response(request: flask.Request, error: AppError) -> flask.Response:
    if isinstance(error, Unavailable):
        logger.warning("%s %s: %s", request.method, printable(request.path, 200), error)
    message = error.text.say(language_of(request))
    response = json_response(request, {"success": False, "message": message, "data": None}, error.status)
    response.headers.update(error.headers)
    return response


def unexpected_response(request: flask.Request) -> flask.Response:
    """The answer to an unforeseen exception; to be called inside its `except`. The traceback goes to the log only."""
    logger.exception("%s %s failed", request.method, printable(request.path, 200))
    return error_response(request, AppError())


def path_not_found(request: flask.Request) -> NotFound:
    path = printable(request.path, 80)
    return NotFound(f"路径不存在: {path}", f"no such path: {path}")


def method_not_allowed(request: flask.Request, allowed: str) -> MethodNotAllowed:
    method = printable(request.method, 20)
    right = ", ".join(sorted(set(allowed.split(", ")) - {"HEAD", "OPTIONS"}))
    return MethodNotAllowed(f"不支持的请求方法: {method}, 应为 {right}",
                            f"method not allowed: {method}; should be {right}")


def _from_werkzeug(error: HTTPException) -> flask.Response:
    return marked(_answer_to(error), flask.request, own_id(flask.request))


def _answer_to(error: HTTPException) -> flask.Response:
    request = flask.request
    finish_body(request)
    allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    if error.code == 404:
        return error_response(request, path_not_found(request))
    if error.code == 405:
        response = error_response(request, method_not_allowed(request, allowed))
        response.headers["Allow"] = allowed
        return response
    if error.code == 413:
        return error_response(request, PayloadTooLarge("请求体过大", "the body is too large"))
    if error.code is not None and error.code < 500:
        return error_response(request, InvalidRequest("请求无法处理", "the request cannot be understood"))
    return unexpected_response(request)


def answer_in_json(app: flask.Flask) -> None:
    """Make the app answer in the error form, and never by a redirect, when a request reaches no function.

    To be called before the app gets its rules.
    """
    app.url_map.merge_slashes = False
    app.register_error_handler(HTTPException, _from_werkzeug)
