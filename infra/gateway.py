"""All functions on one port, for local use: `python -m infra.gateway --host 127.0.0.1 --port 8000`."""
from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path

import flask
from flask.json.provider import DefaultJSONProvider

from infra.api_docs import add_docs
from infra.front import Front
from infra.http_server import serve
from infra.lanes import Lane
from infra.uploads import is_upload
from shared.access.loopback import is_loopback
from shared.api.event_stream import get_streams
from shared.api.http import Endpoint, HttpFunction
from shared.api.http_errors import REQUEST_ID, answer_in_json, error_response, marked, own_id
from shared.api.origins import check_host, check_origin
from shared.api.validation import AT_ONCE
from shared.deps import close_all, get_store
from shared.errors import AppError, Unavailable
from shared.limits.checks import share_among_processes
from shared.logs import set_up_logs
from shared.settings import PREFIX, WrongSettings, get_settings
from shared.triggers.rule_file import WrongRules, get_rules

logger = logging.getLogger(__name__)

FUNCTIONS_DIR = Path(__file__).resolve().parent.parent / "functions"
THREADS = 16
STREAMS = 200  # event streams of each process, which hold no threads here
WAIT_S = 5.0  # how long a request may wait for a thread
SWITCH_S = 0.0005  # how long a computing thread keeps the others from the interpreter: a tenth of Python's default


def load_functions(folder: Path = FUNCTIONS_DIR) -> dict[str, HttpFunction]:
    """Every `<name>/main.py`'s function `<name>`, by its name."""
    return {main.parent.name: _load(main) for main in sorted(folder.glob("*/main.py"))}


def _load(main: Path) -> HttpFunction:
    name = main.parent.name
    full_name = f"model_convert_functions.{name}"
    loader = SourceFileLoader(full_name, str(main))
    module = importlib.util.module_from_spec(ModuleSpec(full_name, loader, origin=str(main)))
    sys.modules[full_name] = module
    loader.exec_module(module)
    return getattr(module, name)


def create_app(functions: dict[str, HttpFunction] | None = None) -> flask.Flask:
    """The functions under their own, unmodified paths, and the documents: /docs, /redoc, /openapi.json."""
    functions = load_functions() if functions is None else functions
    app = flask.Flask(__name__, static_folder=None)
    app.json = DefaultJSONProvider(app)
    app.json.ensure_ascii = False
    answer_in_json(app)
    for name, function in functions.items():
        about: Endpoint = function.endpoint
        app.add_url_rule(about.path.replace("{", "<").replace("}", ">"), name, _view(function),
                         methods=about.allow.split(", "), provide_automatic_options=False)
    app.before_request(lambda: None if flask.request.endpoint in functions else _look_at(flask.request))
    app.after_request(lambda response: response if REQUEST_ID in response.headers else marked(
        response, flask.request, own_id(flask.request)))
    add_docs(app, [function.endpoint for function in functions.values()])
    return app


def _look_at(request: flask.Request) -> flask.Response | None:
    """What no function answers: the pages, paths that are nobody's, and what a browser asks before it uploads to local
    files. A function looks by itself whom it answers, since it may be served alone."""
    try:
        check_host(request)
        check_origin(request)
    except AppError as error:
        return error_response(request, error)
    if request.method == "OPTIONS" and is_upload("PUT", request.path):
        return flask.Response(status=204, headers={"Allow": "PUT, OPTIONS"})
    return None


def _view(function: HttpFunction) -> Callable[..., flask.Response]:
    return lambda **_: function(flask.globals.request_ctx.request)


def make_front(functions: dict[str, HttpFunction], threads: int, host: str) -> Front:
    """All of them behind one ASGI application. `threads` answer what is quick; what starts processes or works long has
    threads of its own, so that the rest never waits behind it."""
    lanes = {"quick": Lane("quick", threads, waiting=500, wait_s=WAIT_S),
             "create": Lane("create", max(1, threads // 2), waiting=500, wait_s=WAIT_S),
             "check": Lane("check", AT_ONCE, waiting=16, wait_s=WAIT_S)}
    of_path = {(function.endpoint.method, function.endpoint.path): function.endpoint.lane
               for function in functions.values()}
    return Front(create_app(functions), lanes, lambda method, path: of_path.get((method, path), "quick"),
                 get_settings().max_body_bytes, is_local=is_loopback(host))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.gateway", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 4))
    parser.add_argument("--threads", type=int, default=THREADS, help="requests that each process answers at once")
    arguments = parser.parse_args(argv)
    os.environ.setdefault(f"{PREFIX}SSE_STREAMS", str(STREAMS))
    try:
        set_up_logs(get_settings().log_level, service="gateway")
        get_rules()
    except (WrongSettings, WrongRules) as error:
        sys.exit(str(error))
    _tell_access(arguments.host)
    sys.setswitchinterval(SWITCH_S)
    share_among_processes()
    front = make_front(load_functions(), arguments.threads, arguments.host)

    def end() -> None:
        front.close()
        close_all()

    serve(front, arguments.host, arguments.port, arguments.processes, at_stop=lambda: get_streams().close(),
          at_exit=end)


def _tell_access(host: str) -> None:
    """Say who is let in: a service that is closed without a word looks broken."""
    auth = get_settings().auth
    if auth == "open" and not is_loopback(host):
        logger.warning("MODEL_CONVERT_AUTH=open: no key is asked for, and whoever reaches %s may do everything", host)
    elif auth == "keys" or (auth is None and not is_loopback(host)):
        try:
            count: int | None = len(get_store().all_keys())
        except Unavailable:
            count = None
        finally:
            get_store().close()  # before the processes fork
        how = "make one with `python -m infra.keys create`, or let all in by MODEL_CONVERT_AUTH=open"
        logger.info("requests have to show a key%s", f", and there is none yet: {how}" if count == 0 else "")


if __name__ == "__main__":
    main()
