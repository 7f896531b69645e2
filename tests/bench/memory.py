"""(f) Resident memory of what stays up: an idle worker, its warm toolchain hosts, the gateway's processes.

RSS counts a page that several processes share in each of them, PSS in equal parts. The bound is on RSS, the greater.
"""
from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from tests.bench.context import Bench
from tests.bench.figures import Bound, Line, Series
from tests.bench.models import CLASSIFIER, request_for
from tests.bench.service import Service, open_service
from worker import toolhost

IDLE_BOUND_MB = Bound(60.0)
SETTLE_S = 3.0
PROFILES = ("embedded", "service")


def run(bench: Bench) -> list[Line]:
    lines: list[Line] = []
    for profile in PROFILES:
        bench.tell(f"(f) memory in the {profile} profile")
        with open_service(profile, bench.folder / "memory" / profile, bench.servers) as service:
            lines += look(service)
    return lines


def look(service: Service) -> Iterator[Line]:
    service.upload(CLASSIFIER)
    worker = psutil.Process(service.start_worker().pid)
    time.sleep(SETTLE_S)
    yield from both(f"idle worker, just started, {service.profile}", [worker], IDLE_BOUND_MB)
    task_id = service.client.create_task(**request_for(CLASSIFIER, [1, 3, 48, 192]))
    service.wait_for([task_id], timeout_s=60)
    time.sleep(SETTLE_S)
    yield from both(f"idle worker, after a conversion, {service.profile}", [worker], IDLE_BOUND_MB)
    for name, host in sorted(toolchain_hosts(worker).items()):
        yield from both(f"warm toolchain host {name}, {service.profile}", [host])
    gateway = psutil.Process(service.gateway.pid)
    yield from both(f"gateway, all {1 + len(gateway.children())} processes, {service.profile}",
                    [gateway, *gateway.children()])


def toolchain_hosts(worker: psutil.Process) -> dict[str, psutil.Process]:
    """The worker's hosts by the environment's name (its interpreter is NAME-DIGEST/bin/python)."""
    return {Path(host.cmdline()[0]).parents[1].name.rpartition("-")[0]: host for host in worker.children()
            if toolhost.__file__ in host.cmdline()}


def both(what: str, processes: Sequence[psutil.Process], bound: Bound | None = None) -> Iterator[Line]:
    """RSS and PSS of the processes together, and of each in the notes."""
    memory = [process.memory_full_info() for process in processes]
    for kind in ("rss", "pss"):
        each_mb = [round(getattr(of_one, kind) / 1e6, 1) for of_one in memory]
        yield Line("f", f"{what}: {kind.upper()}", "MB", Series((sum(each_mb),)),
                   bound=bound if kind == "rss" else None, notes={"each": each_mb})
