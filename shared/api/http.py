"""`@endpoint`: a typed function as a plain HTTP function, `(flask.Request) -> flask.Response`.

The function takes the validated request (or nothing) and returns the answer's `data`; parsing, errors, languages and
the envelope are here. It may take the `flask.Request` too, and return a `flask.Response` where the answer is no JSON.
What the gateway and the OpenAPI document need to know is its attribute `endpoint`.
"""
from __future__ import annotations

import functools
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass

import flask
from pydantic import BaseModel

from shared.api.http_errors import (
    answer_in_json,
    error_response,
    json_response,
    language_of,
    method_not_allowed,
    path_not_found,
    unexpected_response,
)
from shared.api.json_body import finish_body, read_object
from shared.errors import AppError, Busy, Unavailable
from shared.settings import get_settings
from shared.texts import Text
from shared.validation_messages import validate

HttpFunction = Callable[[flask.Request], flask.Response]
Function = Callable[..., BaseModel | flask.Response]


@dataclass(frozen=True)
class Endpoint:
    """What is known of an HTTP function. `request` is its model, `answers` has the text for each model of its data, and
    `media_type` is what it answers beside JSON, or, without `answers`, instead."""

    name: str
    method: str
    path: str
    title: Text
    answers: dict[type[BaseModel], Text]
    media_type: str
    errors: tuple[type[AppError], ...]
    request: type[BaseModel] | None
    takes_http: bool

    @functools.cached_property
    def path_parameters(self) -> tuple[str, ...]:
        return tuple(re.findall(r"{(\w+)}", self.path))

    @functools.cached_property
    def allow(self) -> str:
        return f"{self.method}, {'HEAD, ' if self.method == 'GET' else ''}OPTIONS"

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


def endpoint(method: str, path: str, *, title: Text, message: Text | tuple[Text, ...] = (),
             media_type: str = "", errors: tuple[type[AppError], ...] = ()) -> Callable[[Function], HttpFunction]:
    """Make a function `(request model) -> data model`, or `() -> data model`, an HTTP function.

    The models are its annotations; there is a `message` for each model that it may return, in their order. A POST's
    request comes from the body, a GET's from the path and the query string. `errors` are those it may answer beyond the
    ones that every endpoint has.
    """
    def decorate(function: Function) -> HttpFunction:
        hints = typing.get_type_hints(function)
        returned = hints.pop("return")
        models = [kind for kind in typing.get_args(returned) or (returned,) if kind is not flask.Response]
        messages = (message,) if isinstance(message, Text) else message
        about = Endpoint(function.__name__, method, path, title, dict(zip(models, messages, strict=True)), media_type,
                         errors, next((kind for kind in hints.values() if kind is not flask.Request), None),
                         flask.Request in hints.values())

        @functools.wraps(function)
        def view(request: flask.Request) -> flask.Response:
            try:
                return _answer(about, function, request)
            finally:
                finish_body(request)

        view.endpoint = about
        if flask.has_app_context():  # functions-framework loads a function's source inside the app that will serve it
            answer_in_json(flask.current_app)
        return view

    return decorate


def _answer(about: Endpoint, function: Function, request: flask.Request) -> flask.Response:
    try:
        parameters = about.match(request)
        if parameters is None:
            raise path_not_found(request)
        if request.method == "OPTIONS":
            return _with_allow(flask.Response(status=204), about)
        if request.method not in about.allow.split(", "):
            return _with_allow(error_response(request, method_not_allowed(request, about.allow)), about)
        data = function(*_arguments(about, parameters, request))
        if isinstance(data, flask.Response):
            return data
        message = about.answers[type(data)].fill(language_of(request), data)
        return json_response(request, {"success": True, "message": message, "data": data})
    except AppError as error:
        if error.status >= 500 and not isinstance(error, (Unavailable, Busy)):
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
