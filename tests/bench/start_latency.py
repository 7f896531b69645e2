"""(b) From the client's call of create to the beginning of the first stage, with an idle worker; beside it the same by
FastAPI and Celery (tests/bench/peer), on the same servers."""
from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pymongo

from tests.bench.context import Bench
from tests.bench.figures import Bound, Line, Series
from tests.bench.models import CLASSIFIER, request_for
from tests.bench.peer_service import Peer, open_peer, open_tasks, wait_for_end
from tests.bench.service import Service, open_service

BOUNDS_MS = {"service": 50.0, "embedded": 150.0}
PEER_BOUNDS = {"p50": 1.5, "p99": 1.0}
QUANTILES = (("p50", 0.5), ("p99", 0.99))
REQUEST = request_for(CLASSIFIER, [1, 3, 48, 192])
POLL_S = 0.02


def run(bench: Bench) -> list[Line]:
    folder = bench.folder / "latency"
    sides: dict[str, Callable[[], float]] = {}
    with ExitStack() as stack:
        for profile in BOUNDS_MS:
            service = stack.enter_context(open_service(profile, folder / profile, bench.servers))
            service.upload(CLASSIFIER)
            service.start_worker()
            sides[profile] = lambda service=service: begin_to_stage_ms(service)
        peer = stack.enter_context(open_peer(folder / "peer", bench.servers, worker=True))
        tasks = stack.enter_context(open_tasks(peer))
        sides["peer"] = lambda: peer_begin_to_task_ms(peer, tasks)
        for side in sides.values():
            side()  # fills the cache and opens the connections
        bench.tell(f"(b) {bench.sizes.latency_tries} tries of each side")
        samples: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(bench.sizes.latency_tries):
            for name, side in sides.items():
                samples[name].append(side())
    series = {name: {label: Series(tuple(taken), quantile) for label, quantile in QUANTILES}
              for name, taken in samples.items()}
    lines = [Line("b", f"create to first stage, {profile}, {label}", "ms", series[profile][label],
                  bound=Bound(limit_ms) if label == "p50" else None)
             for profile, limit_ms in BOUNDS_MS.items() for label, _ in QUANTILES]
    return lines + [Line("b", f"create to first stage, service, {label}", "ms", series["service"][label],
                         "FastAPI with Celery", series["peer"][label], Bound(limit), paired=False)
                    for label, limit in PEER_BOUNDS.items()]


def begin_to_stage_ms(service: Service) -> float:
    """One task, from before the call to the document's own `started_at`; returns when the worker is idle again."""
    called_at = _random_moment()
    task_id = service.client.create_task(**REQUEST)
    task, = service.wait_for([task_id], timeout_s=60, poll_s=POLL_S)
    return (task.started_at - called_at) * 1000


def peer_begin_to_task_ms(peer: Peer, tasks: pymongo.collection.Collection[dict[str, Any]]) -> float:
    """The same by the peer. Both sides read the clock right before they write that the first stage begins."""
    called_at = _random_moment()
    task = wait_for_end(tasks, peer.create_task(REQUEST), timeout_s=60, poll_s=POLL_S)
    return (task["started_at"] - called_at) * 1000


def _random_moment() -> float:
    """A random moment between two looks of a worker that polls."""
    time.sleep(random.uniform(0.2, 0.3))
    return time.time()
