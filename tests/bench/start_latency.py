"""(b) From the client's call of create to the beginning of the first stage, with an idle worker."""
from __future__ import annotations

import random
import time
from contextlib import ExitStack

from tests.bench.context import Bench
from tests.bench.figures import Bound, Line, Series
from tests.bench.models import CLASSIFIER, request_for
from tests.bench.service import Service, open_service

BOUNDS_MS = {"service": 50.0, "embedded": 150.0}


def run(bench: Bench) -> list[Line]:
    folder = bench.folder / "latency"
    samples: dict[str, list[float]] = {profile: [] for profile in BOUNDS_MS}
    with ExitStack() as stack:
        services = [stack.enter_context(open_service(profile, folder / profile, bench.servers))
                    for profile in BOUNDS_MS]
        for service in services:
            service.upload(CLASSIFIER)
            service.start_worker()
            begin_to_stage_ms(service)  # fills the cache and opens the connections
        bench.tell(f"(b) {bench.sizes.latency_tries} tries in each profile")
        for _ in range(bench.sizes.latency_tries):
            for service in services:
                samples[service.profile].append(begin_to_stage_ms(service))
    return [Line("b", f"create to first stage, {profile}, {label}", "ms", Series(tuple(samples[profile]), quantile),
                 bound=Bound(limit_ms) if quantile == 0.5 else None)
            for profile, limit_ms in BOUNDS_MS.items() for label, quantile in (("p50", 0.5), ("p99", 0.99))]


def begin_to_stage_ms(service: Service) -> float:
    """One task, from before the call to the document's own `started_at`; returns when the worker is idle again."""
    time.sleep(random.uniform(0.2, 0.3))  # a random moment between two looks of a worker that polls
    called_at = time.time()
    task_id = service.client.create_task(**request_for(CLASSIFIER, [1, 3, 48, 192]))
    task, = service.wait_for([task_id], timeout_s=60, poll_s=0.02)
    return (task.started_at - called_at) * 1000
