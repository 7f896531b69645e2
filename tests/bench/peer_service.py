"""Runs the peer (tests/bench/peer) on the servers that our own service is measured on."""
from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pymongo
import urllib3

from infra.servers.base import free_port, wait_until
from tests.bench.servers import Servers
from tests.bench.service import answers, bare_environment, running

PROCESSES = 2  # of uvicorn, and of Celery's worker


class NotInstalled(Exception):
    """The peer's packages are not in this environment: `make bench` installs them."""


@dataclass(frozen=True)
class Peer:
    """The peer while it runs. `store_url` names its database."""

    port: int
    store_url: str

    def create_task(self, body: dict[str, Any]) -> str:
        answer = urllib3.request("POST", f"http://127.0.0.1:{self.port}/tasks/create", json=body, timeout=30,
                                 retries=False)
        if answer.status != 200:
            raise RuntimeError(f"the peer answers {answer.status}: {answer.data[:1000]!r}")
        return answer.json()["data"]["task_id"]


@contextmanager
def open_peer(folder: Path, servers: Servers, *, worker: bool = False) -> Iterator[Peer]:
    """FastAPI under uvicorn, and with `worker` Celery's too; nothing of them runs any more afterwards.

    Raises:
        NotInstalled: their packages are missing.
        CannotStart: one of them did not come up.
    """
    if find_spec("fastapi") is None or find_spec("celery") is None:
        raise NotInstalled
    folder.mkdir(parents=True)
    urls, port = servers.fresh_urls(), free_port()
    store_url = urls["MODEL_CONVERT_STORE_URL"]
    environment = bare_environment() | {"PEER_STORE_URL": store_url, "PEER_QUEUE_URL": urls["MODEL_CONVERT_QUEUE_URL"]}
    log, worker_log = folder / "uvicorn.log", folder / "celery.log"
    web: list[str | Path] = [
        sys.executable, "-m", "uvicorn", "tests.bench.peer.api:api", "--host", "127.0.0.1", "--port", str(port),
        "--workers", str(PROCESSES), "--no-access-log", "--log-level", "warning"]
    jobs: list[str | Path] = [sys.executable, "-m", "celery", "--app", "tests.bench.peer.jobs", "worker",
                              "--concurrency", str(PROCESSES), "--loglevel", "info"]
    with running(web, log, environment) as process:
        wait_until(lambda: answers(port, "/health"), process, "the peer", log)
        if not worker:
            yield Peer(port, store_url)
            return
        with running(jobs, worker_log, environment) as worker_process:
            wait_until(lambda: b" ready." in worker_log.read_bytes(), worker_process, "the peer's worker", worker_log)
            yield Peer(port, store_url)


@contextmanager
def open_tasks(peer: Peer) -> Iterator[pymongo.collection.Collection[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](peer.store_url) as client:
        yield client.get_default_database().peer_tasks


def wait_for_end(tasks: pymongo.collection.Collection[dict[str, Any]], task_id: str, timeout_s: float,
                 poll_s: float) -> dict[str, Any]:
    """The task's document once it is completed.

    Raises:
        RuntimeError: it took longer.
    """
    deadline = time.monotonic() + timeout_s
    while (task := tasks.find_one({"_id": task_id})) is None or task["status"] != "completed":
        if time.monotonic() > deadline:
            raise RuntimeError(f"the peer's task took longer than {timeout_s} s")
        time.sleep(poll_s)
    return task
