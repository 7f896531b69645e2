"""(k) The service beside an attack (`tests.bench.attack`): how soon /health answers, whether conversions finish, and
what the gateway and the worker take of memory."""
from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import urllib3

from tests.bench.attack import SET
from tests.bench.context import Bench
from tests.bench.figures import Bound, Line, Series
from tests.bench.models import INTEL, request_for
from tests.bench.service import Service, open_service

HEALTH_BOUND_MS = Bound(100.0)
GATEWAY_BOUND_MB = Bound(500.0)
FOLDERS = 20_000
BEGIN_S = 3.0  # until the attack's connections are open
TIMEOUT_S = 300.0


def run(bench: Bench) -> list[Line]:
    work = INTEL.conversions()[:bench.sizes.batch_tasks]
    with open_service("embedded", bench.folder / "attack", bench.servers) as service:
        service.upload(*{model for model, _ in work})
        bench.tell(f"(k) {bench.sizes.attack_s:.0f} s without an attack, and as long beside one")
        _make_set(service.folder / "buckets" / SET)
        port = service.gateway_port
        service.start_worker()
        watched = service.client.create_task(**request_for(*work[0]))
        service.wait_for([watched], TIMEOUT_S)
        idle = probe(port, bench.sizes.attack_s)
        quiet_s = _convert(service, work[:1])
        peaks = Peaks(service)
        attack = subprocess.Popen([sys.executable, "-m", "tests.bench.attack", str(port), watched,
                                   str(bench.sizes.attack_s + BEGIN_S)], stdout=subprocess.PIPE, text=True)
        time.sleep(BEGIN_S)
        attacked = probe(port, bench.sizes.attack_s)
        told = json.loads(attack.communicate(timeout=TIMEOUT_S)[0])
        attack = subprocess.Popen([sys.executable, "-m", "tests.bench.attack", str(port), watched, "60"],
                                  stdout=subprocess.DEVNULL)
        try:
            converted_s = _convert(service, work)
        finally:
            attack.kill()
            attack.wait()
        gateway_mb, worker_mb = peaks.stop()
    notes = {"answers": told, "one conversion before": quiet_s}
    what = f"/health, {len(attacked)} probes on fresh connections"
    return [
        Line("k", f"{what}: p99", "ms", Series(tuple(attacked), 0.99), bound=HEALTH_BOUND_MS, notes=notes),
        Line("k", f"{what}: p50", "ms", Series(tuple(attacked)), "without an attack", Series(tuple(idle))),
        Line("k", f"{len(work)} conversions beside the attack", "s", Series((converted_s,))),
        Line("k", "the gateway's processes, greatest RSS together", "MB", Series((gateway_mb,)),
             bound=GATEWAY_BOUND_MB),
        Line("k", "the worker, greatest RSS", "MB", Series((worker_mb,))),
    ]


def probe(port: int, seconds: float) -> list[float]:
    """Milliseconds of each request to /health, ten a second. Without an answer of 200 it counts as ten seconds."""
    taken, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        status = 0
        with suppress(urllib3.exceptions.HTTPError):
            status = urllib3.PoolManager(retries=False).request("GET", f"http://127.0.0.1:{port}/health",
                                                                timeout=10).status
        taken.append((time.perf_counter() - began) * 1000 if status == 200 else 10_000.0)
        time.sleep(0.1)
    return taken


class Peaks:
    """The greatest memory of the gateway's processes together, without children that check, and of the worker."""

    def __init__(self, service: Service) -> None:
        gateway, worker = (psutil.Process(process.pid) for process in service.processes)
        self._gateway, self._worker = [gateway, *gateway.children()], worker
        self._peaks_mb = [0.0, 0.0]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> list[float]:
        self._ended.set()
        self._thread.join()
        return [round(peak, 1) for peak in self._peaks_mb]

    def _look(self) -> None:
        while not self._ended.wait(0.2):
            now = [sum(one.memory_info().rss for one in self._gateway) / 1e6, self._worker.memory_info().rss / 1e6]
            self._peaks_mb = [max(pair) for pair in zip(now, self._peaks_mb, strict=True)]


def _convert(service: Service, work: list[tuple[str, list[int]]]) -> float:
    began = time.monotonic()
    service.wait_for([service.client.create_task(**request_for(model, shape)) for model, shape in work], TIMEOUT_S)
    return time.monotonic() - began


def _make_set(folder: Path) -> None:
    for number in range(FOLDERS):
        (folder / f"{number:05}").mkdir(parents=True)
