"""(c) Twenty different conversions on two slots of one worker, and (d) the same twenty again.

Against the same vendor calls and the same accuracy check (conversion_script.py): a fresh process each, one after
another; and forks of a process that has everything imported, two at a time. One thread a conversion on all sides.
"""
from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from infra.models import fetch_models
from shared.models import Task
from tests.bench.context import Bench
from tests.bench.figures import Bound, Line, Series, take_turns
from tests.bench.models import conversions, request_for
from tests.bench.service import bare_environment, open_service, tree_cpu_s

SCRIPT, WARM_FORKS = (str(Path(__file__).with_name(name)) for name in ("conversion_script.py", "warm_forks.py"))
SLOTS = 2  # the default of the settings
PROFILES = ("embedded", "service")
SCRIPT_BOUND, FORKS_BOUND, AGAIN_BOUND = Bound(0.5), Bound(1.1), Bound(0.05)
BATCH_TIMEOUT_S = 300.0


def run(bench: Bench) -> list[Line]:
    """Both rows: the second batch needs the first."""
    batch = Batch(bench)
    bench.tell(f"(c, d) {bench.sizes.batch_rounds} rounds of {len(batch.work)} conversions, four sides each")
    sides = {profile: lambda profile=profile: batch.through_service(profile) for profile in PROFILES}
    series = take_turns(sides | {"script": batch.by_scripts, "forks": batch.by_warm_forks}, bench.sizes.batch_rounds)
    lines = []
    for profile in PROFILES:
        ours, notes = series[profile], {"stage_seconds_of_all_tasks": batch.stages[profile]}
        what = f"{len(batch.work)} conversions, {profile}"
        lines += [Line("c", what, "s", ours, "a fresh process each, one after another", series["script"],
                       SCRIPT_BOUND, notes),
                  Line("c", what, "s", ours, "forks of a warm toolchain, 2 at a time", series["forks"], FORKS_BOUND,
                       notes)]
        lines += [Line("c", f"{what}: CPU", "s", Series(tuple(batch.cpu_s[profile])), side,
                       Series(tuple(batch.cpu_s[side]))) for side in ("script", "forks")]
    for profile in PROFILES:
        again = Series(tuple(batch.again[profile]))
        lines.append(Line("d", f"the same {len(batch.work)} again, {profile}", "s", again, "the first time",
                          series[profile], AGAIN_BOUND, {"stages_not_from_the_cache": batch.recomputed[profile]}))
    return lines


class Batch:
    """The work, and its four ways of being done; each way takes its seconds."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._models = fetch_models()
        self.work = conversions()[:bench.sizes.batch_tasks]
        self.again: dict[str, list[float]] = defaultdict(list)
        # Tells a busy machine from a slow side. Ours is the gateway, the worker and its children, without the servers.
        self.cpu_s: dict[str, list[float]] = defaultdict(list)
        self.stages: dict[str, list[dict[str, float]]] = defaultdict(list)
        self.recomputed: dict[str, list[int]] = defaultdict(list)
        self._folders = 0

    def through_service(self, profile: str) -> float:
        """A new worker with empty caches and warm toolchains; from before the first create to the last completion."""
        with open_service(profile, self._new_folder(), self._bench.servers) as service:
            service.upload(*{model for model, _ in self.work})
            service.client.call("GET", "/platforms")
            service.start_worker()
            seconds = []
            for _ in ("the first time", "again"):
                begun_at, begun_cpu_s = time.time(), service.cpu_s()
                task_ids = [service.client.create_task(**request_for(*conversion)) for conversion in self.work]
                tasks = service.wait_for(task_ids, BATCH_TIMEOUT_S)
                seconds.append(max(task.finished_at for task in tasks) - begun_at)
                if len(seconds) == 1:
                    self.stages[profile].append(stage_seconds(tasks))
                    self.cpu_s[profile].append(round(service.cpu_s() - begun_cpu_s, 2))
            self.again[profile].append(seconds[1])
            self.recomputed[profile].append(sum(not s.cached for t in tasks for s in t.stages if s.name != "publish"))
        shutil.rmtree(service.folder)
        return seconds[0]

    def by_scripts(self) -> float:
        jobs = self._jobs()
        begun, begun_cpu_s = time.perf_counter(), children_cpu_s()
        for arguments in jobs:
            subprocess.run([sys.executable, SCRIPT, *arguments], env=bare_environment(),
                           stdout=subprocess.DEVNULL, check=True, timeout=BATCH_TIMEOUT_S)
        self.cpu_s["script"].append(round(children_cpu_s() - begun_cpu_s, 2))
        return time.perf_counter() - begun

    def by_warm_forks(self) -> float:
        command = [sys.executable, WARM_FORKS, str(SLOTS)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bare_environment(),
                              text=True) as process:
            try:
                while process.stdout.readline() != "ready\n":
                    if process.poll() is not None:
                        raise RuntimeError(f"the warm process ended with {process.returncode}")
                time.sleep(1.0)
                begun_cpu_s = tree_cpu_s([process.pid])
                process.stdin.write(json.dumps(self._jobs()) + "\n")
                process.stdin.flush()
                seconds = float(process.stdout.readline())
                self.cpu_s["forks"].append(round(tree_cpu_s([process.pid]) - begun_cpu_s, 2))
            finally:
                process.kill()
        return seconds

    def _jobs(self) -> list[tuple[str, str, str]]:
        """Arguments of `conversion_script.main`, each with a folder of its own."""
        return [(str(self._models[model]), ",".join(map(str, shape)), str(self._new_folder(make=True)))
                for model, shape in self.work]

    def _new_folder(self, *, make: bool = False) -> Path:
        self._folders += 1
        folder = self._bench.folder / "batch" / str(self._folders)
        if make:
            folder.mkdir(parents=True)
        return folder


def children_cpu_s() -> float:
    """CPU seconds of all children of this process that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def stage_seconds(tasks: list[Task]) -> dict[str, float]:
    """`{stage: seconds in all tasks}`, what came from the cache left out."""
    seconds: dict[str, float] = defaultdict(float)
    for task in tasks:
        for stage in task.stages:
            if not stage.cached:
                seconds[stage.name] += stage.seconds
    return {name: round(value, 3) for name, value in seconds.items()}
