"""gunicorn, started from Python, with its own error pages in the contract's error form."""
from __future__ import annotations

import json
import logging
import secrets
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import flask
import gunicorn.util
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger

logger = logging.getLogger(__name__)


class Server(BaseApplication):
    """One Flask app under gunicorn. The app is made before the processes fork; clients are made after, on first use."""

    def __init__(self, app: flask.Flask, options: dict[str, object]) -> None:
        self._app = app
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> flask.Flask:
        return self._app


class JsonLogger(Logger):
    """gunicorn's messages in the process's own log, where CR and LF of a malformed request are escaped."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def write_json_error(client: socket.socket, status: int, reason: str, detail: str) -> None:
    """What gunicorn answers to a request that is too malformed to reach the app; `detail` quotes the request."""
    message = f"请求无法解析: {reason}" if status < 500 else "服务器内部错误"
    body = json.dumps({"success": False, "message": message, "data": None}, ensure_ascii=False).encode()
    head = (f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\n"
            f"X-Content-Type-Options: nosniff\r\nX-Request-Id: {secrets.token_hex(8)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n")
    gunicorn.util.write_nonblock(client, head.encode("latin-1") + body)


def call_at_stop(action: Callable[[], None]) -> None:
    """Let this process call `action` when it is told to stop, before it waits for the requests under way."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        stop = signal.getsignal(number)

        def act_and_stop(number: int, frame: FrameType | None, stop: Any = stop) -> None:
            action()
            stop(number, frame)

        signal.signal(number, act_and_stop)


def serve(app: flask.Flask, host: str, port: int, processes: int, threads: int, at_stop: Callable[[], None],
          at_exit: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first. In each process `at_stop` runs before
    that, in a signal handler, and `at_exit` after it."""
    gunicorn.util.write_error = write_json_error  # gunicorn has no hook for it; it looks the name up at each use
    Server(app, {
        "bind": f"{host}:{port}",
        "workers": processes,
        "threads": threads,
        "worker_class": "gthread",
        "preload_app": True,
        "keepalive": 30,
        "graceful_timeout": 10,
        "limit_request_line": 8190,
        "limit_request_field_size": 8190,
        "limit_request_fields": 100,
        "control_socket_disable": True,
        "forwarder_headers": "",  # a client's own SCRIPT_NAME or PATH_INFO is a header like any other
        "loglevel": "warning",
        "logger_class": JsonLogger,
        "post_worker_init": lambda worker: call_at_stop(at_stop),
        "when_ready": lambda server: logger.info("listening on http://%s:%s", host, port),
        "worker_exit": lambda server, worker: at_exit(),
    }).run()
