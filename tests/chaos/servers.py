"""The real servers of the service profile: kept through all runs, with fresh names in them for each."""
from __future__ import annotations

import secrets
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from infra.servers import minio, mongo, rabbitmq
from infra.servers.base import CannotStart, Server
from infra.servers.rabbitmq import RabbitServer, rabbitmqctl

START_ATTEMPTS = 10


class Servers:
    """A context; they start on entry. `broker` may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stack = folder, ExitStack()
        self._vhost = ""

    def __enter__(self) -> Servers:
        with ExitStack() as started:
            self._store = self._keep(started, mongo.start(self._folder / "mongo"))
            self._files = self._keep(started, minio.start(self._folder / "minio"))
            self.broker: RabbitServer = rabbitmq.start(self._folder / "rabbitmq")
            started.callback(lambda: self.broker.stop())
            self._stack = started.pop_all()
        return self

    @staticmethod
    def _keep(stack: ExitStack, server: Server) -> Server:
        stack.callback(server.stop)
        return server

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._stack.close()

    def fresh_names(self) -> dict[str, str]:
        """The URL of each dependency with a database, a virtual host of its own for the next run."""
        name = f"chaos-{secrets.token_hex(6)}"
        vhost, user, everything, by = f'<<"{name}">>', '<<"guest">>', '<<".*">>', '<<"tests">>'
        old = f'rabbit_vhost:delete(<<"{self._vhost}">>, {by}), ' if self._vhost else ""
        # All steps in one call: each start of rabbitmqctl takes as long as a third of a run.
        rabbitmqctl(self.broker, "eval",
                    f"{old}rabbit_vhost:add({vhost}, {by}), rabbit_auth_backend_internal:set_permissions("
                    f"{user}, {vhost}, {everything}, {everything}, {everything}, {by}).")
        self._vhost = name
        return {"store": self._store.url.rpartition("/")[0] + f"/{name}", "queue": self.broker.url + name,
                "files": self._files.url}

    def restart_broker(self) -> None:
        """As after a crash: the same port and data."""
        self.broker.kill()
        port = port_of(self.broker.url)
        for attempt in count(1):
            try:
                self.broker = rabbitmq.start(self._folder / "rabbitmq", port=port, log=lambda text: None)
                return
            except CannotStart:  # meanwhile the kernel may have lent the port to some outgoing connection
                if attempt == START_ATTEMPTS:
                    raise


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
