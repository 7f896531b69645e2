"""A batch without a service: a script for each conversion, or forks of a process that has everything imported."""
from __future__ import annotations

import itertools
import json
import os
import resource
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.models import fetch_models
from tests.bench.service import bare_environment, log_tail, tree_cpu_s

FOLDER = Path(__file__).with_name("scripts")
TIMEOUT_S = 300.0  # for one conversion


class Scripts:
    """`scripts/NAME.py` under its toolchain's interpreter; each way answers seconds and CPU seconds of all the work."""

    def __init__(self, name: str, interpreter: Path, work: Sequence[tuple[str, Sequence[int]]], folder: Path) -> None:
        self._name, self._interpreter, self._work, self._folder = name, interpreter, work, folder
        self._numbers = itertools.count(1)
        folder.mkdir(parents=True)

    def one_after_another(self) -> tuple[float, float]:
        jobs, log = self._jobs(), self._new_log()
        begun, begun_cpu_s = time.perf_counter(), children_cpu_s()
        with log.open("wb") as file, telling(log):
            for arguments in jobs:
                subprocess.run([self._interpreter, FOLDER / f"{self._name}.py", *arguments], env=bare_environment(),
                               stdout=file, stderr=file, check=True, timeout=TIMEOUT_S)
        return time.perf_counter() - begun, children_cpu_s() - begun_cpu_s

    def on_one_core(self) -> tuple[float, float]:
        """The same, with a single core for each process and all of its threads."""
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(allowed)})  # the children's as well
        try:
            return self.one_after_another()
        finally:
            os.sched_setaffinity(0, allowed)

    def warm_forks(self, at_once: int) -> tuple[float, float]:
        jobs, log = self._jobs(), self._new_log()
        command = [self._interpreter, FOLDER / "warm_forks.py", self._name, str(at_once)]
        with telling(log), log.open("wb") as file, subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, env=bare_environment(),
                text=True) as process:
            try:
                while process.stdout.readline() != "ready\n":
                    if process.poll() is not None:
                        raise RuntimeError(f"the warm process ended with {process.returncode}")
                time.sleep(1.0)
                begun_cpu_s = tree_cpu_s([process.pid])
                process.stdin.write(json.dumps(jobs) + "\n")
                process.stdin.flush()
                seconds = float(process.stdout.readline())
                return seconds, tree_cpu_s([process.pid]) - begun_cpu_s
            finally:
                process.kill()

    def _jobs(self) -> list[tuple[str, str, str]]:
        """Arguments of the script's `main`, each with a folder of its own."""
        models = fetch_models()
        return [(str(models[model]), ",".join(map(str, shape)), str(self._new_folder())) for model, shape in self._work]

    def _new_folder(self) -> Path:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        return folder

    def _new_log(self) -> Path:
        return self._folder / f"{next(self._numbers)}.log"


@contextmanager
def telling(log: Path) -> Iterator[None]:
    """Whatever goes wrong inside tells the end of the log."""
    try:
        yield
    except BaseException as error:
        error.add_note(log_tail(log))
        raise


def children_cpu_s() -> float:
    """CPU seconds of all children of this process that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
