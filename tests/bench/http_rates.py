"""(a) Requests a second: our gateway against the bare things that it is made of, under the same server, and against the
same endpoints as users of FastAPI, pymongo and Celery write them (tests/bench/peer), on the same servers."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil

from infra import gateway
from infra.servers.base import free_port, wait_until
from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.settings import Settings
from shared.store.mongo_documents import to_document
from tests.bench import bare_pair, hello_world
from tests.bench.context import Bench
from tests.bench.figures import Bound, Line, take_turns
from tests.bench.load import Load, run_load
from tests.bench.models import DETECTOR, request_for
from tests.bench.peer_service import open_peer
from tests.bench.service import Service, answers, bare_environment, open_service, running

REQUEST = request_for(DETECTOR, [1, 3, 480, 480])
STATUS_BOUND, CREATE_BOUND = Bound(0.6, at_least=True), Bound(0.8, at_least=True)
PEER_BOUND = Bound(1.0, at_least=True)


def run(bench: Bench) -> list[Line]:
    folder = bench.folder / "http"
    with ExitStack() as stack:
        embedded = stack.enter_context(open_service("embedded", folder / "embedded", bench.servers))
        service = stack.enter_context(open_service("service", folder / "service", bench.servers))
        status = {profile.profile: status_path(profile) for profile in (embedded, service)}
        processes, threads = len(psutil.Process(service.gateway.pid).children()), gateway.THREADS
        environment = bare_environment() | {"WORKERS": str(processes), "THREADS": str(threads)} | pair_settings(bench)
        ports = {}
        for target, module in (("hello", hello_world), ("create", bare_pair)):
            ports[target] = free_port()
            command = [sys.executable, "-m", "functions_framework", "--source", module.__file__, "--target", target,
                       "--host", "127.0.0.1", "--port", str(ports[target])]
            process = stack.enter_context(running(command, folder / f"{target}.log", environment))
            wait_until(lambda port=ports[target]: answers(port), process, target, folder / f"{target}.log")
        peer = stack.enter_context(open_peer(folder / "peer", bench.servers))
        peer_status = f"/tasks/{peer.create_task(REQUEST)}/status"
        generator_shares: dict[str, list[float]] = {}

        def rate(name: str, port: int, path: str, body: str | None = None) -> Callable[[], float]:
            def measure() -> float:
                time.sleep(0.3)  # what the last side still had to do is not this one's
                result = run_load(Load(port, path, body, seconds=bench.sizes.http_seconds))
                generator_shares.setdefault(name, []).append(round(result.cpu_share, 3))
                return result.requests_per_s

            return measure

        body = json.dumps(REQUEST)
        bench.tell(f"(a) {bench.sizes.http_rounds} rounds, each server {processes} processes x {threads} threads")
        series = take_turns({
            "hello": rate("hello", ports["hello"], "/"),
            "status embedded": rate("status embedded", embedded.gateway_port, status["embedded"]),
            "status service": rate("status service", service.gateway_port, status["service"]),
            "status peer": rate("status peer", peer.port, peer_status),
            "pair": rate("pair", ports["create"], "/", body),
            "create": rate("create", service.gateway_port, "/tasks/create", body),
            "create peer": rate("create peer", peer.port, "/tasks/create", body),
            "loop": lambda: loop_rate(environment, bench.sizes.http_seconds),
        }, bench.sizes.http_rounds)
    notes = {"processes": processes, "threads": threads, "generator_share_of_a_core": generator_shares}
    return [
        Line("a", "GET status, embedded", "req/s", series["status embedded"], "hello world", series["hello"],
             STATUS_BOUND, notes),
        Line("a", "GET status, service", "req/s", series["status service"], "hello world", series["hello"],
             STATUS_BOUND, notes),
        Line("a", "GET status, service", "req/s", series["status service"], "FastAPI with pymongo",
             series["status peer"], PEER_BOUND, notes),
        Line("a", "POST create, service", "req/s", series["create"], "FastAPI with Celery", series["create peer"],
             PEER_BOUND, notes),
        Line("a", "POST create, service", "req/s", series["create"], "insert + confirmed publish over HTTP",
             series["pair"], CREATE_BOUND, notes),
        Line("a", "POST create, service", "req/s", series["create"], "insert + confirmed publish, a plain loop",
             series["loop"], CREATE_BOUND, notes),
    ]


def pair_settings(bench: Bench) -> dict[str, str]:
    """For the bare pair: a database and a virtual host of its own, and the document that our service would store."""
    urls = bench.servers.fresh_urls()
    bare_pair.declare_queue(urls["MODEL_CONVERT_QUEUE_URL"])
    document = to_document(build_tasks(CreateTask(**REQUEST), Settings())[0])
    return {"BENCH_STORE_URL": urls["MODEL_CONVERT_STORE_URL"], "BENCH_QUEUE_URL": urls["MODEL_CONVERT_QUEUE_URL"],
            "BENCH_DOCUMENT": json.dumps(document)}


def status_path(service: Service) -> str:
    task_id = service.client.create_task(**REQUEST)
    return f"/tasks/{task_id}/status"


def loop_rate(environment: dict[str, str], seconds: float) -> float:
    done = subprocess.run([sys.executable, Path(bare_pair.__file__), str(seconds)], env=environment, check=True,
                          capture_output=True, text=True, timeout=seconds + 60)
    return float(done.stdout)
