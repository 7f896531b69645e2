"""The client of a MongoDB, one for each process, and its errors in the service's own terms."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from shared.tls import NO_FILES, Tls, unavailable

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.database import Database

DEFAULT_DATABASE = "model_convert"


class MongoConnection:
    """The client is made on first use in each process: one that was made before a fork must not be used after it
    (https://www.mongodb.com/docs/languages/python/pymongo-driver/current/connect/#forking-processes). `tls` is for a
    URL that asks for TLS. `client` is used as it is, for tests.
    """

    def __init__(self, url: str, timeout_s: float, client: MongoClient[dict[str, Any]] | None = None,
                 tls: Tls = NO_FILES) -> None:
        self._url = url
        self._tls = tls
        self._timeout_s = timeout_s
        self._injected = client
        self._clients: dict[int, MongoClient[dict[str, Any]]] = {}
        self._databases: dict[int, Database[dict[str, Any]]] = {}

    def ping(self) -> None:
        with self._database() as database:
            database.command("ping")

    def close(self) -> None:
        self._databases.pop(os.getpid(), None)
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    @contextmanager
    def _database(self, timeout_s: float | None = None) -> Iterator[Database[dict[str, Any]]]:
        """The database, for operations that end within the timeout together.

        Raises:
            Unavailable: they did not, or the server refused one.
        """
        import pymongo
        from pymongo.errors import PyMongoError

        try:
            with pymongo.timeout(timeout_s or self._timeout_s):
                database = self._databases.get(os.getpid())
                yield self._open_database() if database is None else database
        except PyMongoError as error:
            raise unavailable("store", error) from error

    def _open_database(self) -> Database[dict[str, Any]]:
        """The database; pymongo makes a new object of a collection each time that one is named, so these are kept."""
        database = self._client().get_default_database(DEFAULT_DATABASE)
        vars(database).update({name: database[name] for name in ("tasks", "workers")})
        return self._databases.setdefault(os.getpid(), database)

    def _client(self) -> MongoClient[dict[str, Any]]:
        if self._injected is not None:
            return self._injected
        pid = os.getpid()
        client = self._clients.get(pid)
        if client is None:
            import pymongo

            # `w` is left to the URL and the server: 1 on a standalone, a majority on a replica set.
            made: MongoClient[dict[str, Any]] = pymongo.MongoClient(
                self._url, connectTimeoutMS=int(self._timeout_s * 1000), journal=True, retryWrites=False,
                appname="model-convert", **self._tls_options())
            client = self._clients.setdefault(pid, made)
            if client is not made:  # another thread was first
                made.close()
        return client

    def _tls_options(self) -> dict[str, Any]:
        """The driver takes files and no context. Naming one would turn TLS on, so that is left to the URL."""
        asked = {name.lower(): value.lower() for name, value in parse_qsl(self._url.partition("?")[2])}
        usual = "true" if self._url.startswith("mongodb+srv:") else "false"
        if asked.get("tls", asked.get("ssl", usual)) != "true":
            return {}
        files = {"tlsCAFile": self._tls.ca_file, "tlsCertificateKeyFile": self._tls.certificate_file}
        return {option: str(path) for option, path in files.items() if path}
