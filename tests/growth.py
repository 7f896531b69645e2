"""What many tasks leave behind: `python -m tests.growth --tasks 10000 --real 40`.

Tasks are created over HTTP, converted by worker processes (toy stages, and with `--real` small ONNX models through the
real toolchain) and deleted, half of them with `purge`. A line after each batch tells what then lies on the disk, in
files and bytes, and how much memory the processes have. The first batch is the measure: whatever number of tasks comes
after it, the last line is to be like the first one.
"""
from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
from onnx import numpy_helper

from infra.client import Client
from tests import models
from tests.faults.run import Run
from tests.fixtures.services import Service
from tests.integration.worker_kit import wait_until

# Of all that is kept for later. What is stored or used less than some seconds ago stays beside it.
LIMITS = {"cache_bucket_bytes": 4 << 20, "cache_bytes": 4 << 20, "cache_grace_s": 2.0, "gc_every_s": 5.0}
SIZE_BYTES = 20_000  # of a toy's artefact


@dataclass(frozen=True)
class Left:
    """Files and bytes by place; resident memory of all processes."""

    files: dict[str, int]
    sizes: dict[str, int]
    memory_bytes: int

    def line(self) -> str:
        places = [f"{place} {self.files[place]} files {size / (1 << 20):.1f} MiB" for place, size in self.sizes.items()]
        return f"{', '.join(places)}, memory {self.memory_bytes / (1 << 20):.0f} MiB"


class Target(Protocol):
    client: Client

    def create(self) -> str: ...

    def processes(self) -> list[psutil.Process]: ...

    def places(self) -> dict[str, list[Path]]: ...


class Toys:
    def __init__(self, folder: Path, workers: int, settings: dict[str, Any]) -> None:
        self._run, self._folder = Run(folder / "toys", settings), folder / "toys"
        self._run.start_gateway()
        for _ in range(workers):
            self._run.start_worker()
        self.client = self._run.client
        self.stop = self._run.stop

    def create(self) -> str:
        request = self._run.request({"compile": {"size_bytes": SIZE_BYTES}})
        request.pop("output_path", None)  # the artefact goes with its task
        return self.client.create_task(**request)

    def processes(self) -> list[psutil.Process]:
        return [one.process for one in (*self._run.gateways, *self._run.workers)]

    def places(self) -> dict[str, list[Path]]:
        return places(self._folder, "cache", "work")


class Real:
    """Each task has a model of its own."""

    def __init__(self, folder: Path, workers: int, settings: dict[str, Any]) -> None:
        self._folder = folder / "real"
        environment = {f"MODEL_CONVERT_{name.upper()}": str(value) for name, value in settings.items()}
        self._service = Service(self._folder, environment)
        self._service.wait(self._service.ready, 120)
        for _ in range(workers):
            self._service.start_worker()
        self._service.wait_for_workers()
        self.client, self.stop, self._count = self._service.client, self._service.stop, 0

    def create(self) -> str:
        self._count += 1
        model = models.convolution()
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(
            numpy_helper.to_array(model.graph.initializer[0]) * (1 + self._count / 1e4), "w"))
        source = self._folder / "upload"
        source.write_bytes(model.SerializeToString())
        self._service.files().upload(source, "models/one.onnx")
        task_id = self.client.create_task(task_type="onnx_to_openvino", platform="intel", input_path="models/one.onnx")
        self._service.wait(lambda: self.client.query_task(task_id)["status"] == "completed", 300)
        return task_id

    def processes(self) -> list[psutil.Process]:
        return [psutil.Process(one.pid) for one in (self._service._gateway, *self._service.workers)]

    def places(self) -> dict[str, list[Path]]:
        return places(self._folder, "stages", "work")


def places(folder: Path, cache: str, work: str) -> dict[str, list[Path]]:
    return {"store": list(folder.glob("tasks.db*")), "buckets": [folder / "buckets"], "cache": [folder / cache],
            "work": [folder / work]}


def look(target: Target) -> Left:
    files, sizes = {}, {}
    for place, paths in target.places().items():
        found = [path for root in paths for path in (_below(root) if root.is_dir() else [root])]
        about = [status for path in found if (status := _status(path)) is not None]
        files[place], sizes[place] = len(about), sum(about)
    trees = [process for one in target.processes() for process in (one, *one.children(recursive=True))]
    return Left(files, sizes, sum(_resident(process) for process in trees))


def _below(root: Path) -> list[Path]:
    """What vanishes meanwhile is left out."""
    return [Path(folder) / name for folder, _, names in os.walk(root) for name in names]


def _status(path: Path) -> int | None:
    try:
        return path.lstat().st_size if path.is_file() else None
    except FileNotFoundError:
        return None


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def convert_and_delete(target: Target, count: int) -> None:
    """Half of them with a purge."""
    ids = [target.create() for _ in range(count)]
    wait_until(lambda: not unfinished(target.client), 3600, longest_pause_s=0.5)
    failed = [task_id for task_id in ids if target.client.query_task(task_id)["status"] != "completed"]
    assert not failed, target.client.query_task(failed[0])
    for purge in (True, False):
        some = ids[::2] if purge else ids[1::2]
        for start in range(0, len(some), 20):
            body = {"task_ids": some[start:start + 20], "purge": purge}
            assert target.client.call("POST", "/tasks/batch-delete", body)["failed_count"] == 0


def unfinished(client: Client) -> int:
    return sum(client.call("POST", "/tasks/list", {"page": 1, "page_size": 1, "status": status})["total"]
               for status in ("pending", "running"))


def settled(target: Target, wait_s: float) -> Left:
    """What is left as soon as nothing goes any more."""
    quiet_s, seen = 0.0, look(target)
    while quiet_s < wait_s:
        time.sleep(1.0)
        now = look(target)
        quiet_s = quiet_s + 1.0 if sum(now.sizes.values()) >= sum(seen.sizes.values()) else 0.0
        seen = now
    return seen


def measure(target: Target, batches: list[int], say: Callable[[str], None], wait_s: float) -> tuple[Left, Left]:
    """What is left after the first batch, and after the last."""
    first = last = None
    total = 0
    for count in batches:
        started = time.monotonic()
        convert_and_delete(target, count)
        peak = look(target)
        last = settled(target, wait_s)
        first = first or last
        total += count
        say(f"{total} tasks, the last {count} in {time.monotonic() - started:.0f} s")
        say(f"  just deleted: {peak.line()}")
        say(f"  at rest:      {last.line()}")
    assert first and last
    return first, last


@contextmanager
def running(make: Callable[..., Any], folder: Path, workers: int, **changes: Any) -> Iterator[Any]:
    target = make(folder, workers, LIMITS | changes)
    try:
        yield target
    finally:
        target.stop()


def main() -> int:
    cli = argparse.ArgumentParser(description="what many tasks leave behind")
    cli.add_argument("--tasks", type=int, default=1000, help="toy tasks")
    cli.add_argument("--batch", type=int, default=500)
    cli.add_argument("--real", type=int, default=0, help="tasks with the real toolchain, after the toys")
    cli.add_argument("--workers", type=int, default=2)
    args = cli.parse_args()
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        for make, count in ((Toys, args.tasks), (Real, args.real)):
            batches = [args.batch] * (count // args.batch) + [count % args.batch] * bool(count % args.batch)
            if batches:
                with running(make, Path(folder), args.workers) as target:
                    print(f"{make.__name__}, before:    {look(target).line()}", flush=True)
                    measure(target, batches, lambda line: print(line, flush=True), 15.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
