"""One claimed task from its claim to its end, over real stores, files, caches and toolhosts."""
from __future__ import annotations

import json

from shared import transitions
from shared.documents import Status
from tests.integration.toy_models import model_with_data_beside_it, small_model
from tests.integration.worker_kit import (
    COMPUTED,
    ONCE,
    STAGE_NAMES,
    TARGET,
    Bench,
)
from worker.process import ToolHost


def test_a_task_runs_through_all_stages_and_publishes_its_artefact(bench: Bench) -> None:
    done = bench.run(bench.submit())
    assert (done.status, done.owner, done.progress, done.error) == (Status.COMPLETED, None, 100.0, None)
    assert [(record.name, record.cached) for record in done.stages] == [(name, False) for name in STAGE_NAMES]
    expected = TARGET.artefact_suffix.encode() + small_model()[::-1]
    assert bench.content(done.result.path) == expected
    assert done.result.size_bytes == sum(len(bench.content(path)) for path in done.result.files)
    assert set(done.result.files) == {f"out/model{suffix}" for suffix in (TARGET.artefact_suffix, *TARGET.also)}
    assert bench.runs() == ONCE


def test_the_manifest_beside_the_artefact_tells_what_ran(bench: Bench) -> None:
    done = bench.run(bench.submit())
    manifest = json.loads(bench.content(done.result.manifest_path))
    assert manifest["task_id"] == done.id
    assert [stage["name"] for stage in manifest["stages"]] == STAGE_NAMES[:-1]
    assert manifest["artefact"][0]["sha256"] == done.result.sha256
    assert manifest["stages"][1]["facts"] == {"size": len(small_model())}


def test_a_second_identical_task_takes_its_stages_from_the_cache(bench: Bench) -> None:
    bench.run(bench.submit())
    again = bench.run(bench.submit(output_path=f"out/other{TARGET.artefact_suffix}"))
    assert [record.cached for record in again.stages] == [True] * 4 + [False]
    assert bench.runs() == ONCE
    assert bench.content(again.output_path) == bench.content(f"out/model{TARGET.artefact_suffix}")


def test_a_machine_with_an_empty_cache_takes_them_from_the_object_store(bench: Bench,
                                                                        hosts: dict[str, ToolHost]) -> None:
    bench.run(bench.submit())
    other = Bench(bench.folder, hosts, cache_dir=bench.folder / "other-cache")
    again = other.run(other.submit())
    assert [record.cached for record in again.stages] == [True] * 4 + [False]
    assert bench.runs() == ONCE


def test_another_parameter_runs_only_the_stages_that_read_it(bench: Bench) -> None:
    bench.run(bench.submit())
    changed = bench.run(bench.submit(parameters=bench.parameters(reject=False)))
    assert [record.cached for record in changed.stages] == [True, True, True, False, False]
    assert bench.runs() == {**ONCE, "verify": 2}


def test_a_model_with_another_name_and_equal_bytes_shares_the_later_stages(bench: Bench) -> None:
    bench.run(bench.submit())
    bench.upload("in/copy.onnx", small_model())
    again = bench.run(bench.submit(input_path="in/copy.onnx"))
    assert [record.cached for record in again.stages] == [False, True, True, True, False]


def test_an_overwritten_model_is_converted_anew(bench: Bench) -> None:
    bench.run(bench.submit())
    bench.upload("in/model.onnx", small_model(2.0))
    done = bench.run(bench.submit())
    assert bench.content(done.result.path).endswith(small_model(2.0)[::-1])
    assert bench.runs() == dict.fromkeys(COMPUTED, 2)


def test_external_data_is_fetched_and_its_change_is_noticed(bench: Bench) -> None:
    model, weights = model_with_data_beside_it(bench.folder)
    bench.upload("in/model.onnx", model)
    bench.upload("in/weights.bin", weights)
    first = bench.run(bench.submit())
    again = bench.run(bench.submit())
    bench.upload("in/weights.bin", bytes(len(weights)))
    changed = bench.run(bench.submit())
    fetched = [task.stages[0] for task in (first, again, changed)]
    assert [record.cached for record in fetched] == [False, True, False]
    assert fetched[0].output_digest == fetched[1].output_digest != fetched[2].output_digest


def test_external_data_that_is_missing_fails_the_task_in_fetch(bench: Bench) -> None:
    model, _ = model_with_data_beside_it(bench.folder)
    bench.upload("in/model.onnx", model)
    failed = bench.run(bench.submit())
    assert (failed.status, failed.error.code, failed.error.stage) == (Status.FAILED, "external_data_missing", "fetch")
    assert "in/weights.bin" in failed.error.hint


def test_a_missing_model_fails_the_task_in_fetch(bench: Bench) -> None:
    failed = bench.run(bench.submit(input_path="in/none.onnx"))
    assert (failed.error.code, failed.error.stage, bench.outputs()) == ("input_not_found", "fetch", [])


def test_a_model_above_the_limit_fails_the_task_in_fetch(bench: Bench, hosts: dict[str, ToolHost]) -> None:
    small = Bench(bench.folder, hosts, max_model_bytes=10)
    assert small.run(small.submit()).error.code == "model_too_large"


def test_a_refusing_stage_fails_the_task_with_its_own_words(bench: Bench) -> None:
    failed = bench.run(bench.submit(parameters=bench.parameters(reject=True)))
    assert (failed.status, failed.owner) == (Status.FAILED, None)
    assert (failed.error.code, failed.error.stage, failed.error.hint) == ("accuracy_too_low", "verify", "use fp32")
    assert [record.name for record in failed.stages] == ["fetch", "prepare", "compile"]
    assert bench.outputs() == []


def test_a_retry_starts_after_the_last_finished_stage(bench: Bench) -> None:
    task = bench.submit(parameters=bench.parameters(reject=True))
    bench.run(task)
    bench.store.update(task.id, transitions.retry())
    bench.store.update(task.id, transitions.Change({}, {"parameters": bench.parameters()}))
    done = bench.run(task)
    assert done.status is Status.COMPLETED
    assert bench.runs() == {**ONCE, "verify": 2}
