"""Flask's app with a short way: a request that is plainly one function's goes to that function at once.

Flask's contexts, signals, session and table of rules cost more than a small function itself, and no function uses them.
Whatever is not plain takes Flask's way, and so does everything where the app has hooks.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

import flask

from shared.api.http import HttpFunction
from shared.api.http_errors import REQUEST_ID, marked, own_id

# A path's parameter that has one spelling only. Every other one is for Flask to understand.
PLAIN = "[A-Za-z0-9_.-]+"

StartResponse = Callable[..., Any]


class Routes:
    """Functions by the methods and paths that they are called by."""

    def __init__(self, functions: Iterable[HttpFunction]) -> None:
        self._fixed: dict[tuple[str, str], HttpFunction] = {}
        self._with_parameters: dict[str, list[tuple[re.Pattern[str], HttpFunction]]] = {}
        for function in functions:
            about = function.endpoint
            if about.path_parameters:
                pattern = re.compile(re.sub(r"\\{\w+\\}", PLAIN, re.escape(about.path)))
                self._with_parameters.setdefault(about.method, []).append((pattern, function))
            else:
                self._fixed[about.method, about.path] = function

    def find(self, method: str, path: str) -> HttpFunction | None:
        """The only function that is called by them; None where that is not plain."""
        if function := self._fixed.get((method, path)):
            return function
        found = [function for pattern, function in self._with_parameters.get(method, ()) if pattern.fullmatch(path)]
        return found[0] if len(found) == 1 else None


class DirectApp(flask.Flask):
    """The app of these functions. Their rules are still to be added, each under its function's name. `look_at` sees
    what no function answers, and may answer it; a function looks by itself whom it answers."""

    def __init__(self, name: str, functions: Collection[HttpFunction],
                 look_at: Callable[[flask.Request], flask.Response | None] = lambda request: None) -> None:
        super().__init__(name, static_folder=None)
        self._routes = Routes(functions)
        self._names = {function.endpoint.name for function in functions}
        self._look_at = look_at

    def wsgi_app(self, environ: dict[str, Any], start_response: StartResponse) -> Any:
        response = self.answer(environ)
        return super().wsgi_app(environ, start_response) if response is None else response(environ, start_response)

    def answer(self, environ: dict[str, Any]) -> flask.Response | None:
        """The function's own answer; None where the request is not plain, and has to take Flask's way."""
        function = None if self._has_hooks() else self._routes.find(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        return None if function is None else function(flask.Request(environ))

    def preprocess_request(self) -> Any:
        answer = super().preprocess_request()
        return self._look_at(flask.request) if answer is None and flask.request.endpoint not in self._names else answer

    def process_response(self, response: flask.Response) -> flask.Response:
        """What no function has answered has the headers of every answer too."""
        done = super().process_response(response)
        return done if REQUEST_ID in done.headers else marked(done, flask.request, own_id(flask.request))

    def _has_hooks(self) -> bool:
        """Those that see every request; `answer_in_json` is none, since it sees what no function answers."""
        return "wsgi_app" in vars(self) or any(map(any, (
            self.before_request_funcs.values(), self.after_request_funcs.values(),
            self.teardown_request_funcs.values())))
