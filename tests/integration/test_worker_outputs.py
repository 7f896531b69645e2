"""What a task may replace at its output, and what it may not."""
from __future__ import annotations

import contextlib
import threading

import pytest

from shared.documents import Status
from shared.files.minio import MinioFiles
from shared.marks import Mark, read_mark, write_mark
from shared.outputs import written_paths
from tests.integration.toy_models import small_model
from tests.integration.worker_kit import TARGET, WAIT_S, Bench, Running
from tests.integration.worker_kit import make_task as unsaved_task

# In the order of writing, but that the third to the last are written side by side, and the second after them.
PUBLISHED = sorted(written_paths(unsaved_task()), key=lambda path: not path.endswith(".manifest.json"))


def test_the_result_of_an_earlier_task_of_the_same_target_is_replaced(bench: Bench) -> None:
    first = bench.run(bench.submit())
    before = {path: bench.files.stat(path) for path in first.result.objects()}
    bench.store.delete(first.id)
    done = bench.run(bench.submit())
    assert done.status is Status.COMPLETED
    assert done.result.objects() == first.result.objects() == list(before)
    assert all(read_mark(bench.files.stat(path)) == Mark(done.id, 1, TARGET.name) for path in before)


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_object_of_somebody_else_is_not_replaced_and_nothing_is_computed_for_it(bench: Bench, name: str) -> None:
    bench.upload(name, b"precious")
    failed = bench.run(bench.submit())
    assert (failed.status, failed.error.code, failed.error.stage) == (Status.FAILED, "output_conflict", "publish")
    assert name in failed.error.message and "overwrite" in failed.error.hint
    assert (bench.outputs(), bench.content(name)) == ([name], b"precious")
    assert bench.runs() == {}


def test_a_request_may_say_that_what_lies_there_is_replaced(bench: Bench) -> None:
    for name in PUBLISHED:
        bench.upload(name, b"older")
    done = bench.run(bench.submit(overwrite=True))
    assert done.status is Status.COMPLETED and sorted(done.result.objects()) == sorted(PUBLISHED)
    assert bench.content(done.result.path).endswith(small_model()[::-1])


def test_what_appears_after_the_claim_is_not_replaced_even_by_a_request_that_may_overwrite(watched: Bench) -> None:
    parameters, gate = watched.gated("verify")
    running = Running(watched, watched.submit(parameters=parameters, overwrite=True))
    running.at("verify")
    watched.upload(PUBLISHED[-1], b"another's")
    gate.touch()
    assert running.end().error.code == "output_conflict"
    assert (watched.outputs(), watched.content(PUBLISHED[-1])) == ([PUBLISHED[-1]], b"another's")


def test_the_result_of_another_target_is_not_replaced(bench: Bench) -> None:
    bench.upload(PUBLISHED[1], b"another target's", mark=write_mark(Mark("task_1", 1, "abacus"), PUBLISHED[1]))
    assert bench.run(bench.submit()).error.code == "output_conflict"
    assert bench.content(PUBLISHED[1]) == b"another target's"


def test_a_copy_of_a_result_is_the_clients_own(bench: Bench) -> None:
    """A store may copy the metadata along, as `mc cp` does."""
    first = bench.run(bench.submit())
    copy = "out/copy" + TARGET.artefact_suffix
    bench.upload(copy, b"copied", mark=bench.files.stat(first.result.path).mark)
    assert bench.run(bench.submit(output_path=copy)).error.code == "output_conflict"
    assert bench.content(copy) == b"copied"


def test_what_a_living_task_is_writing_is_not_replaced_by_another_task_of_the_same_target(watched: Bench) -> None:
    """The second one begins while the first is between two of its uploads, and has all its results at hand."""
    first, ends = watched.submit(), []

    def run_another(path: str) -> None:
        if path.startswith("out/"):
            watched.files.after_upload = lambda path: None
            ends.append(watched.run(watched.submit(), "w2"))

    watched.files.after_upload = run_another
    done = watched.run(first)
    assert done.status is Status.COMPLETED
    assert sorted(watched.outputs()) == sorted(done.result.objects())
    assert (ends[0].error.code, ends[0].error.stage) == ("output_conflict", "publish")
    assert first.id in ends[0].error.message


def test_of_tasks_that_publish_at_once_each_that_completed_last_has_its_whole_set(watched: Bench) -> None:
    """They all begin before any of them writes, and all publish at the same moment."""
    count = 4
    all_there = threading.Barrier(count, timeout=WAIT_S)

    def wait_for_all(path: str) -> None:
        if path == PUBLISHED[0]:
            with contextlib.suppress(threading.BrokenBarrierError):
                all_there.wait()

    assert watched.run(watched.submit(output_path=f"else/model{TARGET.artefact_suffix}"))  # the stages are done once
    watched.files.on_upload = wait_for_all
    running = [Running(watched, watched.submit(), f"w{number}") for number in range(count)]
    ended = [each.end() for each in running]
    completed = [task for task in ended if task.status is Status.COMPLETED]
    assert len(completed) == 1
    assert {task.error.code for task in ended if task.error} == {"output_conflict"}
    assert sorted(watched.outputs()) == sorted(PUBLISHED)
    assert {read_mark(watched.files.stat(path)) for path in PUBLISHED} == {Mark(completed[0].id, 1, TARGET.name)}


def test_publishing_to_a_real_object_store(bench: Bench, minio_url: str, bucket: str) -> None:
    """Another target's object, then an earlier result, then what a person has put in its place."""
    source = bench.content("in/model.onnx")
    bench.use_files(MinioFiles(minio_url, 5.0))
    bench.upload(f"{bucket}/model.onnx", source)
    request = {"input_path": f"{bucket}/model.onnx", "output_path": f"{bucket}/out/m{TARGET.artefact_suffix}"}
    names = written_paths(unsaved_task(**request))
    bench.upload(names[1], b"precious", mark=write_mark(Mark("task_1", 1, "abacus"), names[1]))
    assert bench.run(bench.submit(**request)).error.code == "output_conflict"
    assert [info.path for info in bench.files.find(f"{bucket}/out/")] == [names[1]]
    first = bench.run(bench.submit(**request, overwrite=True))
    second = bench.run(bench.submit(**request))
    assert (first.status, second.status) == (Status.COMPLETED, Status.COMPLETED)
    assert {read_mark(bench.files.stat(path)) for path in names} == {Mark(second.id, 1, TARGET.name)}
    bench.upload(names[0], b"precious")
    assert bench.run(bench.submit(**request)).error.code == "output_conflict"
    assert bench.content(names[0]) == b"precious"
    bench.files.close()
