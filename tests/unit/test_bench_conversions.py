"""What the bench converts, and how it counts the runs of shared stages."""
from __future__ import annotations

from typing import Any

import pytest

from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.documents import StageRecord, Task
from shared.settings import Settings
from tests.bench.group import CHOICES, SHAPE, count_shared_runs
from tests.bench.models import DETECTOR, INTEL, QUALCOMM, ROCKCHIP, Target, object_path, request_for, shape_parameter
from tests.bench.without_service import FOLDER
from worker.plan import get_plans

SHARED = {"fetch", "inspect", "optimize", "reference"}


@pytest.mark.parametrize("target", [INTEL, ROCKCHIP, QUALCOMM], ids=lambda target: target.platform)
def test_a_batch_is_twenty_different_conversions_that_the_service_takes_and_a_script_does(target: Target) -> None:
    work = target.conversions()
    assert len({(model, tuple(shape)) for model, shape in work}) == len(work) == 20
    tasks = [build_tasks(CreateTask(**request_for(model, shape, target)), Settings())[0] for model, shape in work]
    assert {task.platform for task in tasks} == {target.platform}
    assert (FOLDER / f"{target.platform}.py").is_file()


def group() -> list[Task]:
    tasks = build_tasks(CreateTask(input_path=object_path(DETECTOR), targets=list(CHOICES),
                                   parameters={"input_shape": shape_parameter(SHAPE)}), Settings())
    assert len({(task.platform, str(task.parameters)) for task in tasks}) == 4
    return tasks


def record(name: str, **fields: Any) -> StageRecord:
    return StageRecord(**{"name": name, "key": "0" * 64, "output_digest": "0" * 64, "seconds": 1.0,
                          "cached": False, "peak_memory_bytes": 0} | fields)


def ran(task: Task, cached: set[str]) -> Task:
    stages = get_plans()[task.platform].stages_for(task.parameters)
    return task.model_copy(update={"stages": [record(stage.name, cached=stage.name in cached) for stage in stages]})


def test_the_runs_of_shared_stages_are_counted_and_no_others() -> None:
    first, *others = group()
    assert count_shared_runs([ran(first, set()), *(ran(task, SHARED) for task in others)]) == dict.fromkeys(SHARED, 1)


def test_a_shared_stage_that_ran_twice_shows() -> None:
    first, second, *others = group()
    tasks = [ran(first, set()), ran(second, SHARED - {"optimize"}), *(ran(task, SHARED) for task in others)]
    assert count_shared_runs(tasks) == dict.fromkeys(SHARED, 1) | {"optimize": 2}
