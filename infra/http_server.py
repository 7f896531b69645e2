"""The gateway's server: gunicorn keeps the processes, uvicorn serves in each of them."""
from __future__ import annotations

import asyncio
import logging
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from infra.connections import Connection
from infra.front import Front
from shared.settings import get_settings

KEEP_ALIVE_S = 30
GRACE_S = 8  # for requests under way when the process is told to stop; gunicorn kills it two seconds later
BACKLOG = 2048
OTHER_FILES = 1000  # that a process may open beside its connections

logger = logging.getLogger(__name__)


class Application(BaseApplication):
    """Made before the processes fork; clients are made after, on first use."""

    def __init__(self, front: Front, options: dict[str, object]) -> None:
        self._front = front
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Front:
        return self._front


class JsonLogger(Logger):
    """gunicorn's messages in the process's own log, where CR and LF of a malformed request are escaped."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class Server(uvicorn.Server):
    """uvicorn in a process that gunicorn has forked."""

    def __init__(self, config: uvicorn.Config, at_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._at_stop = at_stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process has its own handlers."""
        yield

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for listener in sockets:
            listener.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.look(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: Any = None) -> None:
        self._at_stop()
        await super().shutdown(sockets)


class Process(Worker):
    """One process of the gateway."""

    at_stop: Callable[[], None] = staticmethod(lambda: None)

    def init_signals(self) -> None:
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = get_settings().connections + OTHER_FILES
        if soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, needed), hard))
        config = uvicorn.Config(
            self.wsgi, interface="asgi3", loop="asyncio", http=Connection, ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S, callback_notify=self._beat, timeout_notify=1,
            backlog=1)  # a loop takes as many connections at once as its backlog, before the other processes see them
        server = Server(config, self.at_stop)

        def stop() -> None:
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        await server.serve([listener.sock for listener in self.sockets])

    async def _beat(self) -> None:
        self.notify()


def serve(front: Front, host: str, port: int, processes: int, at_stop: Callable[[], None],
          at_exit: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first. In each process `at_stop` runs before
    that, and `at_exit` after it."""
    Process.at_stop = staticmethod(at_stop)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    Application(front, {
        "bind": f"{host}:{port}",
        "workers": processes,
        "worker_class": "infra.http_server.Process",
        "preload_app": True,
        "graceful_timeout": GRACE_S + 2,
        "control_socket_disable": True,
        "loglevel": "warning",
        "logger_class": JsonLogger,
        "when_ready": lambda server: logger.info("listening on http://%s:%s", host, port),
        "worker_exit": lambda server, worker: at_exit(),
    }).run()
