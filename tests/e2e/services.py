"""The whole service as real processes: the gateway, and workers that a test may kill."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import urllib3

from infra.client import ApiError, Client
from infra.processes import embedded_environment
from infra.servers.base import free_port
from shared.files import Files, open_files

FINAL = ("completed", "failed")


class Service:
    """Runs below `data_dir`. `environment` overrides the embedded profile's settings."""

    def __init__(self, data_dir: Path, environment: dict[str, str]) -> None:
        self.data_dir = data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        self.environment = embedded_environment(data_dir) | {
            "MODEL_CONVERT_LEASE_S": "3", "MODEL_CONVERT_BEAT_S": "0.3", "MODEL_CONVERT_SWEEP_S": "1",
            "MODEL_CONVERT_RETRY_DELAY_S": "0.2"} | environment
        self.port = free_port()
        self.client = Client(f"http://127.0.0.1:{self.port}")
        self.workers: list[subprocess.Popen[bytes]] = []
        self._gateway = self._spawn("gateway", "infra.gateway", "--port", str(self.port))

    def _spawn(self, name: str, module: str, *args: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.data_dir / f"{name}.log").open("wb") as log:
            return subprocess.Popen([sys.executable, "-m", module, *args], env=self.environment | environment,
                                    stdout=log, stderr=log, start_new_session=True)

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        process = self._spawn(f"worker-{len(self.workers)}", "worker", **environment)
        self.workers.append(process)
        return process

    def wait_for_workers(self, timeout_s: float = 30) -> None:
        """Until every living worker is known to the service."""
        alive = {worker.pid for worker in self.workers if worker.poll() is None}
        self.wait(lambda: alive <= known_workers(self.client), timeout_s)

    @staticmethod
    def wait(holds: Callable[[], Any], timeout_s: float = 60) -> Any:
        """What `holds` answers once that is true."""
        deadline = time.monotonic() + timeout_s
        while True:
            value = holds()
            if value:
                return value
            assert time.monotonic() < deadline, "it never came to hold"
            time.sleep(0.05)

    def finish(self, task_ids: list[str], timeout_s: float = 120) -> list[dict[str, Any]]:
        """The tasks once all of them ended."""
        def look() -> list[dict[str, Any]] | None:
            tasks = [self.client.query_task(task_id) for task_id in task_ids]
            return tasks if all(task["status"] in FINAL for task in tasks) else None
        return self.wait(look, timeout_s)

    def files(self) -> Files:
        return open_files(self.environment["MODEL_CONVERT_FILES_URL"], 5.0)

    def convert(self, input_path: str, **fields: Any) -> str:
        return self.client.create_task(task_type="onnx_to_openvino", platform="intel", input_path=input_path, **fields)

    def finished_stages(self) -> Iterator[dict[str, Any]]:
        """What the workers' logs say of finished stages: task_id, stage, cached, worker."""
        for number in range(len(self.workers)):
            for line in (self.data_dir / f"worker-{number}.log").read_text().splitlines():
                if line.startswith("{") and (entry := json.loads(line))["message"] == "stage finished":
                    yield entry

    def stop(self) -> None:
        for process in [*self.workers, self._gateway]:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in [*self.workers, self._gateway]:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def ready(self) -> bool:
        try:
            self.client.call("GET", "/health")
        except (urllib3.exceptions.HTTPError, ApiError):
            return False
        return True


def known_workers(client: Client) -> set[int]:
    """The process ids of the live workers; each is part of its worker's id."""
    return {int(worker["id"].split("-")[-2]) for platform in client.call("GET", "/platforms")["platforms"]
            for worker in platform["workers"]}


def processes_that_mention(text: str) -> list[str]:
    """The command lines of living processes (and their environments' work folders) in which `text` occurs."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environment = (folder / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if command and (text in command or text in environment):
                found.append(command)
    return found
