"""The service profile's servers, started once for all rows; each row takes databases, hosts and buckets of its own."""
from __future__ import annotations

import functools
import secrets
from pathlib import Path
from typing import TypeVar

from infra.servers import minio, mongo, rabbitmq
from infra.servers.base import Server
from infra.servers.rabbitmq import RabbitServer, rabbitmqctl

SomeServer = TypeVar("SomeServer", bound=Server)


class Servers:
    """Each server starts when a row first asks for it. `tell` says what is being done."""

    def __init__(self, folder: Path, tell: mongo.Log) -> None:
        self._folder, self._tell = folder, tell
        self.started: list[Server] = []

    @functools.cached_property
    def mongo(self) -> Server:
        return self._keep(mongo.start(self._folder / "mongo", log=self._tell))

    @functools.cached_property
    def rabbitmq(self) -> RabbitServer:
        return self._keep(rabbitmq.start(self._folder / "rabbitmq", log=self._tell))

    @functools.cached_property
    def minio(self) -> Server:
        return self._keep(minio.start(self._folder / "minio", log=self._tell))

    def fresh_urls(self) -> dict[str, str]:
        """Settings that name an empty database, an empty virtual host and buckets that nobody else uses."""
        name = f"bench-{secrets.token_hex(4)}"
        rabbitmqctl(self.rabbitmq, "add_vhost", name)
        rabbitmqctl(self.rabbitmq, "set_permissions", "--vhost", name, "guest", ".*", ".*", ".*")
        return {"MODEL_CONVERT_STORE_URL": f"{self.mongo.url.rpartition('/')[0]}/{name}",
                "MODEL_CONVERT_QUEUE_URL": self.rabbitmq.url + name,
                "MODEL_CONVERT_FILES_URL": self.minio.url,
                "MODEL_CONVERT_CACHE_BUCKET": f"{name}-cache",
                "MODEL_CONVERT_RESULTS_BUCKET": f"{name}-results"}

    def stop(self) -> None:
        for server in reversed(self.started):
            server.stop()

    def _keep(self, server: SomeServer) -> SomeServer:
        self.started.append(server)
        return server
