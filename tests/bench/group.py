"""(j) One model to four targets in one request, against the same four conversions as separate runs.

The group is one request with `targets` to a new worker with empty caches; its shared stages run once. A separate run is
one task to a new worker with empty caches; four of them follow one another, and their seconds are added up. All workers
serve all of the targets and are warm before the request is sent.
"""
from __future__ import annotations

import itertools
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from shared.documents import Task
from tests.bench.batch import PROFILES, stage_seconds
from tests.bench.context import Bench
from tests.bench.figures import Bound, Line, Series, take_turns
from tests.bench.models import DETECTOR, INTEL, QUALCOMM, ROCKCHIP, object_path, shape_parameter
from tests.bench.service import install_toolchain, open_service
from worker.plan import get_plans

SHAPE = (1, 3, 320, 320)
CHOICES = (INTEL.choice(precision="fp16"), INTEL.choice(precision="fp32"), ROCKCHIP.choice(), QUALCOMM.choice())
PLATFORMS = tuple(dict.fromkeys(choice["platform"] for choice in CHOICES))
BOUND, RUNS_BOUND = Bound(1.0), Bound(1.0)
TIMEOUT_S = 120.0


def run(bench: Bench) -> list[Line]:
    for platform in PLATFORMS:
        install_toolchain(platform)
    bench.tell(f"(j) {bench.sizes.group_rounds} rounds of one model to {len(CHOICES)} targets")
    group = Group(bench)
    lines = []
    for profile in PROFILES:
        series = take_turns({"together": lambda profile=profile: group.together(profile),
                             "apart": lambda profile=profile: group.apart(profile)}, bench.sizes.group_rounds)
        lines += [
            Line("j", f"one model to {len(CHOICES)} targets, {profile}", "s", series["together"],
                 "the same as separate runs, added up", series["apart"], BOUND, {
                     "stage_seconds": group.stages[profile, "together"],
                     "stage_seconds_apart": group.stages[profile, "apart"]}),
            Line("j", f"runs of the shared stage that ran most often, {profile}", "runs",
                 Series(tuple(float(max(runs.values())) for runs in group.shared_runs[profile])), bound=RUNS_BOUND,
                 notes={"runs": group.shared_runs[profile]})]
    return lines


class Group:
    """Its conversions, in two ways."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._numbers = itertools.count(1)
        self.stages: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
        self.shared_runs: dict[str, list[dict[str, int]]] = defaultdict(list)

    def together(self, profile: str) -> float:
        seconds, tasks = self._convert(profile, CHOICES)
        self.stages[profile, "together"].append(stage_seconds(tasks))
        self.shared_runs[profile].append(count_shared_runs(tasks))
        return seconds

    def apart(self, profile: str) -> float:
        runs = [self._convert(profile, [choice]) for choice in CHOICES]
        self.stages[profile, "apart"].append(stage_seconds([task for _, tasks in runs for task in tasks]))
        return sum(seconds for seconds, _ in runs)

    def _convert(self, profile: str, choices: Sequence[dict[str, Any]]) -> tuple[float, list[Task]]:
        """Seconds from before the request to the last completion, and the tasks."""
        folder = self._bench.folder / "group" / str(next(self._numbers))
        with open_service(profile, folder, self._bench.servers, platforms=PLATFORMS) as service:
            service.upload(DETECTOR)
            service.client.call("GET", "/platforms")
            service.start_worker()
            begun_at = time.time()
            created = service.client.call("POST", "/tasks/create", {
                "input_path": object_path(DETECTOR), "parameters": {"input_shape": shape_parameter(SHAPE)},
                "targets": choices})
            tasks = service.wait_for([task["task_id"] for task in created["tasks"]], TIMEOUT_S)
        shutil.rmtree(folder)
        return max(task.finished_at for task in tasks) - begun_at, tasks


def count_shared_runs(tasks: Sequence[Task]) -> dict[str, int]:
    """`{stage: how many tasks ran it themselves}` of the stages that all targets share, by the tasks' own records."""
    shared = {stage.name for platform in PLATFORMS for stage in get_plans()[platform].stages if stage.common}
    runs = {record.name: 0 for task in tasks for record in task.stages if record.name in shared}
    for task in tasks:
        for record in task.stages:
            if record.name in runs:
                runs[record.name] += not record.cached
    return runs
