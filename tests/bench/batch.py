"""Twenty different conversions on two slots of one worker: (c) for OpenVINO, (h) for an rk3588, (i) for an SM8650; and
the same twenty again, (d) for OpenVINO, with the first ones for the others.

Against the same vendor calls and the same accuracy check (scripts/NAME.py): a fresh process each, one after another;
and forks of a process that has everything imported, two at a time. One thread a conversion on all sides.

Only the SM8650's simulator cannot be told: it takes two threads, of the service's tasks as of the scripts. So (i) also
has the script loop held to one core; against the loop that has both cores there is less to win.
"""
from __future__ import annotations

import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from shared.documents import Task
from tests.bench.context import Bench
from tests.bench.figures import Bound, Line, Series, take_turns
from tests.bench.models import INTEL, QUALCOMM, ROCKCHIP, Target, request_for
from tests.bench.service import install_toolchain, open_service, tree_cpu_s
from tests.bench.without_service import Scripts

SLOTS = 2  # the default of the settings
PROFILES = ("embedded", "service")
SCRIPT, FORKS = "a fresh process each, one after another", f"forks of a warm toolchain, {SLOTS} at a time"
ONE_CORE = "a fresh process each, one after another, on one core"
BOUNDS = {SCRIPT: Bound(0.5), ONE_CORE: Bound(0.5), FORKS: Bound(1.1)}
AGAIN_BOUND = Bound(0.05)
BATCH_TIMEOUT_S = 300.0
TWO_THREADS = ("The SM8650's simulator takes two threads, whatever it is told: where a script has two cores, it uses "
               "them. The lines on CPU seconds show how much there was to do.")


def run_intel(bench: Bench) -> list[Line]:
    """OpenVINO's own environment has no ONNX Runtime, which the script needs; ours has both."""
    batch = Batch(bench, INTEL, Path(sys.executable), bench.sizes.batch_rounds)
    return batch.lines("c") + batch.again_lines("d")


def run_rockchip(bench: Bench) -> list[Line]:
    batch = Batch(bench, ROCKCHIP, install_toolchain(ROCKCHIP.platform), bench.sizes.target_rounds)
    return batch.lines("h") + batch.again_lines("h")


def run_qualcomm(bench: Bench) -> list[Line]:
    batch = Batch(bench, QUALCOMM, install_toolchain(QUALCOMM.platform), bench.sizes.target_rounds, one_core=True)
    return batch.lines("i", TWO_THREADS) + batch.again_lines("i")


class Batch:
    """One target's work, done in each way in turn; each way takes its seconds."""

    def __init__(self, bench: Bench, target: Target, interpreter: Path, rounds: int, *, one_core: bool = False) -> None:
        self._bench, self._target = bench, target
        self._folder = bench.folder / f"batch-{target.platform}"
        self._work = target.conversions()[:bench.sizes.batch_tasks]
        # Tells a busy machine from a slow side. Ours is the gateway, the worker and its children; the servers, which
        # run on the same cores, are told apart.
        self._cpu_s: dict[str, list[float]] = defaultdict(list)
        self._servers_cpu_s: list[float] = []
        self._again: dict[str, list[float]] = defaultdict(list)
        self._stages: dict[str, list[dict[str, float]]] = defaultdict(list)
        self._recomputed: dict[str, list[int]] = defaultdict(list)
        scripts = Scripts(target.platform, interpreter, self._work, self._folder / "scripts")
        others = {SCRIPT: scripts.one_after_another} | ({ONE_CORE: scripts.on_one_core} if one_core else {}) | {
            FORKS: lambda: scripts.warm_forks(SLOTS)}
        self._others = tuple(others)
        sides = {profile: lambda profile=profile: self._through_service(profile) for profile in PROFILES} | others
        bench.tell(f"{rounds} rounds of {len(self._work)} conversions for {target.platform}, {len(sides)} sides each")
        self._series = take_turns({name: self._noting_cpu(name, side) for name, side in sides.items()}, rounds)

    def lines(self, row: str, remark: str = "") -> list[Line]:
        lines = []
        for profile in PROFILES:
            notes = {"stage_seconds_of_all_tasks": self._stages[profile]}
            lines += [Line(row, self._what(profile), "s", self._series[profile], side, self._series[side], BOUNDS[side],
                           notes, remark) for side in self._others]
            lines += [Line(row, f"{self._what(profile)}: CPU", "s", Series(tuple(self._cpu_s[profile])), side,
                           Series(tuple(self._cpu_s[side]))) for side in self._others]
        return [*lines, Line(row, f"{self._what('service')}: CPU of its servers", "s",
                             Series(tuple(self._servers_cpu_s)))]

    def again_lines(self, row: str) -> list[Line]:
        return [Line(row, f"{self._what(profile)}, again", "s", Series(tuple(self._again[profile])), "the first time",
                     self._series[profile], AGAIN_BOUND, {"stages_not_from_the_cache": self._recomputed[profile]})
                for profile in PROFILES]

    def _of_servers_s(self) -> float:
        return tree_cpu_s([server.process.pid for server in self._bench.servers.started])

    def _what(self, profile: str) -> str:
        return f"{len(self._work)} conversions for {self._target.platform}, {profile}"

    def _noting_cpu(self, name: str, side: Callable[[], tuple[float, float]]) -> Callable[[], float]:
        def measure() -> float:
            seconds, cpu_s = side()
            self._cpu_s[name].append(round(cpu_s, 2))
            return seconds

        return measure

    def _through_service(self, profile: str) -> tuple[float, float]:
        """A new worker with empty caches and warm toolchains; from before the first create to the last completion."""
        with open_service(profile, self._folder / profile, self._bench.servers,
                          platforms=(self._target.platform,)) as service:
            service.upload(*{model for model, _ in self._work})
            service.client.call("GET", "/platforms")
            service.start_worker()
            measured = []
            for _ in ("the first time", "again"):
                begun_at, begun_cpu_s, servers_cpu_s = time.time(), service.cpu_s(), self._of_servers_s()
                task_ids = [service.client.create_task(**request_for(model, shape, self._target))
                            for model, shape in self._work]
                tasks = service.wait_for(task_ids, BATCH_TIMEOUT_S)
                measured.append((max(task.finished_at for task in tasks) - begun_at, service.cpu_s() - begun_cpu_s))
                if len(measured) == 1:
                    if profile == "service":
                        self._servers_cpu_s.append(round(self._of_servers_s() - servers_cpu_s, 2))
                    self._stages[profile].append(stage_seconds(tasks))
            self._again[profile].append(measured[1][0])
            self._recomputed[profile].append(sum(not s.cached for t in tasks for s in t.stages if s.name != "publish"))
        shutil.rmtree(service.folder)
        return measured[0]


def stage_seconds(tasks: list[Task]) -> dict[str, float]:
    """`{stage: seconds in all tasks}`, what came from the cache left out."""
    seconds: dict[str, float] = defaultdict(float)
    for task in tasks:
        for stage in task.stages:
            if not stage.cached:
                seconds[stage.name] += stage.seconds
    return {name: round(value, 3) for name, value in seconds.items()}
