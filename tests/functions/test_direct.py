"""The gateway's short way to a function answers as Flask's own way does."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
from werkzeug.test import EnvironBuilder

from infra.direct import DirectApp, Routes
from infra.front import call
from infra.gateway import create_app, load_functions
from shared.documents import Task
from shared.settings import get_settings

Add = Callable[..., Task]

REQUESTS: dict[str, dict[str, Any]] = {
    "a status": {"path": "/tasks/{id}/status"},
    "in English": {"path": "/tasks/{id}/status", "headers": {"Accept-Language": "zh;q=0.1, en"}},
    "in no language": {"path": "/tasks/{id}/status", "headers": {"Accept-Language": ""}},
    "with the client's id": {"path": "/tasks/{id}/status", "headers": {"X-Request-Id": "client-7"}},
    "of no task": {"path": "/tasks/task_1_none/status"},
    "with a question mark": {"path": "/tasks/{id}/status?"},
    "the path's parameter in the query too": {"path": "/tasks/{id}/status?task_id=other"},
    "an unknown field in the query": {"path": "/tasks/{id}/status?task=other"},
    "a query that counts": {"path": "/tasks/{id}/events?after=1"},
    "a wrong query": {"path": "/tasks/{id}/events?after=x"},
    "a body where none is": {"path": "/tasks/{id}/status", "data": b"{}"},
    "a slash at the end": {"path": "/tasks/{id}/status/"},
    "two slashes": {"path": "//tasks/{id}/status"},
    "an empty parameter": {"path": "/tasks//status"},
    "dots": {"path": "/tasks/../status"},
    "an escaped letter": {"path": "/%74asks/{id}/status"},
    "an escaped slash": {"path": "/tasks/a%2Fb/status"},
    "Chinese": {"path": "/tasks/任务/status"},
    "a line break": {"path": "/tasks/{id}%0A/status"},
    "a line break at the end": {"path": "/tasks/{id}/status%0A"},
    "HEAD": {"path": "/tasks/{id}/status", "method": "HEAD"},
    "OPTIONS": {"path": "/tasks/{id}/status", "method": "OPTIONS"},
    "another method": {"path": "/tasks/{id}/status", "method": "POST"},
    "no method": {"path": "/tasks/{id}/status", "method": "get"},
    "a list": {"path": "/tasks/list", "method": "POST", "json": {}},
    "a list without a body": {"path": "/tasks/list", "method": "POST"},
    "a wrong body": {"path": "/tasks/list", "method": "POST", "json": {"page": 0}},
    "of another type": {"path": "/tasks/list", "method": "POST", "data": b"{}", "headers": {"Content-Type": "text/x"}},
    "GET of a list": {"path": "/tasks/list"},
    "platforms": {"path": "/platforms"},
    "nothing": {"path": "/"},
    "the document": {"path": "/openapi.json"},
}


@pytest.fixture(autouse=True)
def open_to_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Else who asks without a server is asked for a key."""
    monkeypatch.setenv("MODEL_CONVERT_AUTH", "open")
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


def ask(app: flask.Flask, task: Task, path: str, **request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """The answer, with the request's id replaced where it is a new one."""
    with app.test_client().open(path.format(id=task.id), **request) as answer:
        headers = sorted((name, "new" if name == "X-Request-Id" and len(value) == 16 else value)
                         for name, value in answer.headers.items())
        return answer.status_code, headers, answer.get_data()


def ask_front(app: DirectApp, task: Task, path: str, **request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """The same as the gateway asks. The server, not the app, leaves out the body that HEAD has none of."""
    environ = EnvironBuilder(path.format(id=task.id), **request).get_environ()
    answer = call(app, environ)
    headers = sorted((name.decode(), "new" if name == b"X-Request-Id" and len(value) == 16 else value.decode())
                     for name, value in answer.headers)
    return answer.status, headers, answer.body


@pytest.fixture
def flasks_way() -> DirectApp:
    """With a hook that does nothing, so that all goes Flask's way."""
    app = create_app()
    app.before_request(lambda: None)
    return app


@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_answer_the_same(add: Add, flasks_way: DirectApp, name: str) -> None:
    task = add()
    told = ask(create_app(), task, **REQUESTS[name])
    assert told == ask(flasks_way, task, **REQUESTS[name])
    assert {name for name, _ in told[1]} >= {"X-Request-Id", "X-Content-Type-Options"}
    assert told == ask_front(create_app(), task, **REQUESTS[name]) == ask_front(flasks_way, task, **REQUESTS[name])


def test_a_plain_request_takes_the_short_way_and_no_other_does() -> None:
    functions = load_functions()
    find = Routes(functions.values()).find
    assert find("GET", "/tasks/task_1_2/status") is functions["get_task_status"]
    assert find("POST", "/tasks/create") is functions["create_task"]
    for method, path in (("HEAD", "/tasks/task_1_2/status"), ("GET", "/tasks/a%20b/status"), ("GET", "/tasks//status"),
                         ("GET", "/tasks/task_1_2/status/"), ("GET", "/tasks/create"), ("GET", "/docs")):
        assert find(method, path) is None


def test_every_function_has_a_short_way_of_its_own() -> None:
    functions = load_functions()
    routes = Routes(functions.values())
    for function in functions.values():
        about = function.endpoint
        path = about.path
        for name in about.path_parameters:
            path = path.replace(f"{{{name}}}", f"some-{name}.x")
        assert routes.find(about.method, path) is function


def test_hooks_see_every_request(add: Add) -> None:
    task, app, seen = add(), create_app(), []

    def note(response: flask.Response) -> flask.Response:
        seen.append(flask.request.path)
        response.headers["X-Hook"] = "1"
        return response

    app.after_request(note)
    status, headers, body = ask(app, task, f"/tasks/{task.id}/status")
    assert (status, ("X-Hook", "1") in headers, seen) == (200, True, [f"/tasks/{task.id}/status"])
    assert json.loads(body)["data"]["task_id"] == task.id
    assert ask_front(app, task, f"/tasks/{task.id}/status")[0] == 200 and len(seen) == 2


def test_what_is_wrapped_around_the_app_sees_every_request(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    task, app, seen = add(), create_app(), []
    inner = app.wsgi_app

    def outer(environ: dict[str, Any], start_response: Any) -> Any:
        seen.append(environ["PATH_INFO"])
        return inner(environ, start_response)

    monkeypatch.setattr(app, "wsgi_app", outer)
    path = f"/tasks/{task.id}/status"
    assert ask(app, task, path)[0] == ask_front(app, task, path)[0] == 200
    assert seen == [path, path]
