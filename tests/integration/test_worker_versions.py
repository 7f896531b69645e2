"""Tasks and stage results of another version of the service: used, made anew, or refused with the reason."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared import transitions
from shared.documents import Status, Task
from tests.contract.store_raw import edit_raw
from tests.integration.worker_kit import ONCE, PLAN, STAGE_NAMES, Bench, Running
from worker.cache import MANIFEST_FORM, StageCache
from worker.keys import form_of
from worker.plan import Plan

FOREIGN_KEY = "f" * 64


def with_form(form: int, *names: str) -> Plan:
    """The plan of a version in which these stages' results have another form."""
    return replace(PLAN, stages=tuple(replace(stage, form=form) if stage.name in names else stage
                                      for stage in PLAN.stages))


def stopped_after(bench: Bench, stage: str, **more: Any) -> Task:
    """A task that was paused in this stage, has recorded it, and is to go on."""
    parameters, gate = bench.gated(stage, **more)
    running = Running(bench, bench.submit(parameters=parameters))
    running.at(stage)
    bench.store.update(running.task.id, transitions.pause())
    gate.touch()
    assert running.end().stages[-1].name == stage
    return bench.store.update(running.task.id, transitions.resume())


def keys(task: Task) -> dict[str, str]:
    return {record.name: record.key for record in task.stages}


def as_other_code_left_it(bench: Bench, task: Task, stage: str, **renamed: str) -> None:
    """The stage's recorded result becomes one of code that gave its files other names."""
    result = bench.tools.cache.find(keys(task)[stage])
    folder = bench.folder / "foreign"
    bench.tools.cache.place(result, folder)
    for name, other in renamed.items():
        (folder / name).rename(folder / other)
    files = {renamed.get(name, name): about for name, about in result.files.items()}
    foreign, hold = bench.tools.cache.keep(replace(result, key=FOREIGN_KEY, files=files), folder)
    hold.close()
    bench.tools.cache.share(foreign)
    records = [record.model_dump(mode="json") | ({"key": FOREIGN_KEY} if record.name == stage else {})
               for record in task.stages]
    edit_raw(bench.store, task.id, stages=records)


# --- recorded results -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("recorded", "now"), [(1, 2), (2, 1), (2, 3)])
def test_a_recorded_stage_whose_result_has_another_form_runs_again_and_no_other(bench: Bench, recorded: int,
                                                                               now: int) -> None:
    bench.plan = with_form(recorded, "prepare")
    task = stopped_after(bench, "prepare")
    bench.plan = with_form(now, "prepare")
    done = bench.run(task)
    assert (done.status, [record.name for record in done.stages]) == (Status.COMPLETED, STAGE_NAMES)
    assert bench.runs() == {**ONCE, "prepare": 2}
    assert (form_of(keys(task)["prepare"]), form_of(keys(done)["prepare"])) == (recorded, now)
    assert keys(done)["fetch"] == keys(task)["fetch"]


def test_what_depends_on_a_result_of_another_form_is_looked_up_by_its_own_key(bench: Bench) -> None:
    task = stopped_after(bench, "compile")
    bench.plan = with_form(2, "prepare")
    done = bench.run(task)
    assert done.status is Status.COMPLETED
    assert bench.runs() == {**ONCE, "prepare": 2}, "compile's inputs are the same, so its key is, and its result"


def test_a_recorded_stage_of_the_same_form_never_runs_again(bench: Bench) -> None:
    bench.plan = with_form(2, "prepare")
    task = stopped_after(bench, "compile")
    done = bench.run(task)
    assert done.status is Status.COMPLETED and bench.runs() == ONCE
    assert keys(done).items() >= keys(task).items()


def test_a_stage_that_crashes_on_what_other_code_recorded_is_run_on_results_of_this_code(bench: Bench) -> None:
    """Nobody has raised the form."""
    task = stopped_after(bench, "prepare")
    as_other_code_left_it(bench, task, "prepare", prepared="ready")
    bench.tools.cache._remove(keys(task)["prepare"])
    bench.files.delete(manifest_of(bench, keys(task)["prepare"]))
    done = bench.run(bench.store.get(task.id))
    assert (done.status, done.error) == (Status.COMPLETED, None)
    assert bench.runs() == {"prepare": 2, "compile": 2, "verify": 1}
    assert keys(done)["prepare"] == keys(task)["prepare"]


def test_a_result_of_other_code_that_can_be_used_is_used(bench: Bench) -> None:
    task = stopped_after(bench, "prepare")
    as_other_code_left_it(bench, task, "prepare")
    done = bench.run(bench.store.get(task.id))
    assert done.status is Status.COMPLETED and bench.runs() == ONCE
    assert keys(done)["prepare"] == FOREIGN_KEY


def test_a_stage_that_crashes_on_results_of_this_code_fails_the_task_at_once(bench: Bench) -> None:
    task = stopped_after(bench, "prepare", suffixes=[1])
    failed = bench.run(task)
    assert (failed.status, failed.error.code, failed.error.stage) == (Status.FAILED, "stage_crashed", "compile")
    assert bench.runs() == {"prepare": 1, "compile": 1}


def test_a_stage_that_crashes_on_results_of_either_code_fails_the_task(bench: Bench) -> None:
    task = stopped_after(bench, "prepare", suffixes=[1])
    as_other_code_left_it(bench, task, "prepare")
    failed = bench.run(bench.store.get(task.id))
    assert (failed.status, failed.error.code) == (Status.FAILED, "stage_crashed")
    assert bench.runs() == {"prepare": 1, "compile": 2}, "prepare's own result is in the cache"


@pytest.mark.parametrize("key", ["../../../../etc", "", "k", "F" * 64, "f" * 64 + "-0", "f" * 64 + "-1/..", "f" * 63])
def test_a_record_whose_key_is_none_addresses_nothing(bench: Bench, key: str) -> None:
    task = stopped_after(bench, "prepare")
    edit_raw(bench.store, task.id, stages=[record.model_dump(mode="json") | {"key": key} for record in task.stages])
    assert bench.run(task).status is Status.COMPLETED
    assert bench.runs() == ONCE, "what it should have named is found by the keys of this code"


def test_records_of_all_stages_do_not_keep_a_task_from_being_published(bench: Bench) -> None:
    record: dict[str, Any] = {"key": FOREIGN_KEY, "output_digest": "d", "seconds": 0, "cached": False}
    task = bench.submit()
    edit_raw(bench.store, task.id, stages=[record | {"name": name} for name in [*STAGE_NAMES, "of another plan"]])
    done = bench.run(task)
    assert done.status is Status.COMPLETED and bench.content(done.result.path)


# --- parameters -------------------------------------------------------------------------------------------------------


def test_a_parameter_that_this_version_does_not_know_is_refused_by_its_name(bench: Bench) -> None:
    failed = bench.run(bench.submit(parameters=bench.parameters(sparsity=0.5, webhook="x")))
    assert (failed.status, failed.error.code) == (Status.FAILED, "version_mismatch")
    assert "sparsity, webhook" in failed.error.message and failed.owner is None


def test_parameters_that_cannot_be_read_fail_the_task_at_once(bench: Bench) -> None:
    failed = bench.run(bench.submit(parameters=bench.parameters(input_shape=[["x"]])))
    assert (failed.status, failed.owner, failed.epoch) == (Status.FAILED, None, 1)


# --- the cache --------------------------------------------------------------------------------------------------------


def manifest_of(bench: Bench, key: str) -> str:
    return f"{bench.settings.cache_bucket}/stages/{key}.json"


@pytest.fixture
def kept(bench: Bench) -> str:
    """The key of a result that the object store has."""
    return keys(bench.run(bench.submit()))["prepare"]


def rewritten(bench: Bench, of_key: str, **fields: Any) -> StageCache:
    """Another machine's cache, after somebody has put these fields into the manifest."""
    manifest = json.loads(bench.content(manifest_of(bench, of_key)))
    bench.files.delete(manifest_of(bench, of_key))
    bench.upload(manifest_of(bench, of_key), json.dumps(manifest | fields).encode())
    return StageCache(bench.folder / "elsewhere", 1 << 30, bench.files, bench.settings.cache_bucket)


def test_a_manifest_with_fields_of_another_version_is_read(bench: Bench, kept: str, tmp_path: Path) -> None:
    cache = rewritten(bench, kept, gpu="x")
    cache.place(cache.find(kept), tmp_path / "placed")
    assert (tmp_path / "placed" / "prepared").exists()


def test_a_manifest_of_a_later_form_is_left_where_it_is(bench: Bench, kept: str) -> None:
    cache = rewritten(bench, kept, form=MANIFEST_FORM + 1, files=None)
    assert cache.find(kept) is None and bench.files.stat(manifest_of(bench, kept))


@pytest.mark.parametrize("damage", [{"files": None}, {"facts": []}, {"form": "x"}, {"key": "other"}])
def test_a_damaged_manifest_is_removed(bench: Bench, kept: str, damage: dict[str, Any]) -> None:
    cache = rewritten(bench, kept, **damage)
    assert cache.find(kept) is None and bench.files.stat(manifest_of(bench, kept)) is None


def test_the_manifests_are_such_as_the_version_before_reads(bench: Bench, kept: str) -> None:
    assert set(json.loads(bench.content(manifest_of(bench, kept)))) == {
        "key", "stage", "files", "facts", "seconds", "peak_memory_bytes", "tools"}
