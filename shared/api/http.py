"""`@endpoint`: a typed function as a plain HTTP function, `(flask.Request) -> flask.Response`.

The function takes the validated request, or nothing, and returns the answer's `data`. This module does the rest: whom
it answers, parsing, errors, languages, the envelope. A function may also take the `flask.Request`, and return a
`flask.Response` if its answer is no JSON. Its attribute `endpoint` holds what the gateway and the OpenAPI document need
to know.
"""
from __future__ import annotations

import functools
import re
import time
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import flask
from pydantic import BaseModel

from shared.access import Scope, acting_for
from shared.api.authorization import authorize
from shared.api.http_errors import (
    answer_in_json,
    error_response,
    json_response,
    language_of,
    marked,
    method_not_allowed,
    own_id,
    path_not_found,
    unexpected_response,
)
from shared.api.json_body import finish_body, read_object
from shared.api.origins import check_host, check_origin
from shared.deadlines import ending_at
from shared.errors import AppError, Busy, NotOffered, Unavailable, UnreadableDocument
from shared.limits.checks import check_rate
from shared.request_ids import request_id
from shared.settings import get_settings
from shared.texts import Text
from shared.validation_messages import validate


class HttpFunction(Protocol):
    """A plain HTTP function that knows what it is."""

    endpoint: Endpoint

    def __call__(self, request: flask.Request) -> flask.Response: ...


Function = Callable[..., BaseModel | flask.Response]
Lane = Literal["quick", "create", "check"]  # a check starts a process and may compute for seconds; a creation may wait


@dataclass(frozen=True)
class Probe:
    """What answers those who look before they send, by GET, HEAD or OPTIONS. `message` is the envelope's, for a GET."""

    message: Text
    answer: Callable[[flask.Request], flask.Response]


@dataclass(frozen=True)
class Endpoint:
    """What is known of an HTTP function. `request` is the request's model. `answers` maps each model of the data to the
    envelope's message. `media_type` is the function's other kind of answer, or its only one if `answers` is empty.
    Requests of one `lane` share the gateway's threads for it. `empty` maps the statuses of answers without content to
    what they say, `headers` the headers that it reads. `reads` says which body the function reads by itself. Its
    requests count among those that a caller may send in a second if it is `limited`. `scope` is what a key has to have
    where keys are needed; None: no key is asked for. `without_key`: nor is one needed, but who shows one with this
    scope is told more."""

    name: str
    method: str
    path: str
    title: Text
    answers: dict[type[BaseModel], Text]
    media_type: str
    empty: dict[int, Text]
    headers: dict[str, Text]
    errors: tuple[type[AppError], ...]
    request: type[BaseModel] | None
    takes_http: bool
    lane: Lane
    reads: Text | None = None
    probe: Probe | None = None
    limited: bool = True
    scope: Scope | None = None
    without_key: bool = False

    @functools.cached_property
    def path_parameters(self) -> tuple[str, ...]:
        return tuple(re.findall(r"{(\w+)}", self.path))

    @functools.cached_property
    def allow(self) -> str:
        beside = "GET, HEAD, " if self.probe else "HEAD, " if self.method == "GET" else ""
        return f"{self.method}, {beside}OPTIONS"

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(r"(?:/.*)?" + re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path)))

    def match(self, request: flask.Request) -> dict[str, str] | None:
        """The path's parameters, or None for another path. A function alone may be mounted below any prefix, and may
        be called at `/`: then the parameters are in the query string."""
        if request.path == "/":
            return {}
        found = self._pattern.fullmatch(request.path)
        return found.groupdict() if found else None


def endpoint(method: str, path: str, *, title: Text, message: Text | dict[type[BaseModel], Text] | None = None,
             media_type: str = "", empty: dict[int, Text] | None = None, headers: dict[str, Text] | None = None,
             errors: tuple[type[AppError], ...] = (), lane: Lane = "quick", reads: Text | None = None,
             probe: Probe | None = None, limited: bool = True, scope: Scope | None, without_key: bool = False
             ) -> Callable[[Function], HttpFunction]:
    """Make a function `(request model) -> data model`, or `() -> data model`, an HTTP function.

    The function's annotations name the models. `message` is the envelope's message; a function that returns one of
    several models has a message for each of them. A POST's request comes from the body, a GET's from the path and the
    query string; one that names no model may read its body by itself (`reads`). `media_type`, `empty` and `headers` are
    told in the OpenAPI document, as are `errors`: those that the function may raise beyond the ones of every
    endpoint. `scope` has no default, so that no endpoint is open by oversight.

    Raises:
        TypeError: a model that the function returns has no message.
    """
    def decorate(function: Function) -> HttpFunction:
        hints = typing.get_type_hints(function)
        returned = hints.pop("return")
        models = {kind for kind in typing.get_args(returned) or (returned,) if kind is not flask.Response}
        answers = message if isinstance(message, dict) else {kind: message for kind in list(models)[:1] if message}
        if missing := models - answers.keys():
            raise TypeError(f"{function.__name__}: no message for {', '.join(kind.__name__ for kind in missing)}")
        request_model = next((kind for kind in hints.values() if kind is not flask.Request), None)
        about = Endpoint(function.__name__, method, path, title, answers, media_type, empty or {}, headers or {},
                         errors, request_model, flask.Request in hints.values(), lane, reads, probe, limited, scope,
                         without_key)

        @functools.wraps(function)
        def view(request: flask.Request) -> flask.Response:
            known = request_id.set(own_id(request))
            try:
                return marked(_answer(about, function, request), request, request_id.get())
            finally:
                request_id.reset(known)
                finish_body(request)

        function_of_http = typing.cast(HttpFunction, view)
        function_of_http.endpoint = about
        if flask.has_app_context():  # functions-framework loads a function's source inside the app that will serve it
            answer_in_json(flask.current_app)
        return function_of_http

    return decorate


def _answer(about: Endpoint, function: Function, request: flask.Request) -> flask.Response:
    try:
        check_host(request)
        check_origin(request)
        parameters = about.match(request)
        if parameters is None:
            raise path_not_found(request)
        if about.probe and request.method in ("GET", "HEAD", "OPTIONS"):
            return _with_allow(about.probe.answer(request), about)
        if request.method == "OPTIONS":
            return _with_allow(flask.Response(status=204), about)
        if request.method not in about.allow.split(", "):
            return _with_allow(error_response(request, method_not_allowed(request, about.allow)), about)
        caller = authorize(request, about.scope, optional=about.without_key)
        with acting_for(caller), ending_at(time.monotonic() + get_settings().request_s):
            if about.limited:
                check_rate()
            data = function(*_arguments(about, parameters, request))
        if isinstance(data, flask.Response):
            return data
        message = about.answers[type(data)].fill(language_of(request), data)
        return json_response(request, {"success": True, "message": message, "data": data})
    except AppError as error:
        if error.status >= 500 and not isinstance(
                error, (Unavailable, UnreadableDocument, Busy, NotOffered)):
            return unexpected_response(request)
        return error_response(request, error)
    except Exception:
        return unexpected_response(request)


def _arguments(about: Endpoint, parameters: dict[str, str], request: flask.Request) -> list[object]:
    arguments: list[object] = []
    if about.request:
        if about.method == "GET":
            values = {name: request.args[name] for name in about.request.model_fields if name in request.args}
            values |= parameters
        else:
            values = read_object(request, get_settings().max_body_bytes)
        arguments.append(validate(about.request, values))
    return [*arguments, request] if about.takes_http else arguments


def _with_allow(response: flask.Response, about: Endpoint) -> flask.Response:
    response.headers["Allow"] = about.allow
    return response
