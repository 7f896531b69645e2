"""`precision: "auto"`: candidates are tried until one passes, each once, whatever happens to the worker meanwhile."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from shared import transitions
from shared.api.views import view_task
from shared.documents import Status, Task
from shared.platforms import get_platforms
from tests.integration.auto_kit import AUTO_PLAN, NAME, PLATFORM, submit
from tests.integration.worker_kit import TAKEOVER_S, Bench, Running, WorkerProcess, make_settings, wait_until
from worker.process import ToolHost
from worker.report import Report

GATE = "accuracy_too_low"
FAILS = {"verify-fast": GATE}
NONE = {"verify-fast": GATE, "compile-middle": "compile_failed", "verify-exact": GATE}


@pytest.fixture(autouse=True)
def auto(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(get_platforms(), NAME, PLATFORM)
    bench.plan = AUTO_PLAN


def names(task: Task) -> list[str]:
    return [record.name for record in task.stages]


def told(attempts: Any) -> list[tuple[str, str]]:
    return [(row.name, row.status) for row in attempts]


def read(bench: Bench, path: str) -> Any:
    return json.loads(bench.content(path))


# --- which one is taken -----------------------------------------------------------------------------------------------


def test_the_fastest_is_taken_if_it_passes_and_no_other_is_tried(bench: Bench) -> None:
    done = bench.run(submit(bench))
    assert (done.status, done.error, done.progress) == (Status.COMPLETED, None, 100.0)
    assert names(done) == ["fetch", "prepare", "compile-fast", "verify-fast", "publish"]
    assert bench.runs() == {"prepare": 1, "compile-fast": 1, "verify-fast": 1}
    assert told(done.result.attempts) == [("fast", "passed")]
    (row,) = done.result.attempts
    assert (row.chosen, row.precision, row.parameters) == (True, "int8", {"method": "fast"})
    assert row.size_bytes == done.result.size_bytes and row.accuracy == {"output": "y", "cosine": 0.99,
                                                                         "min_cosine": 0.9}


def test_where_the_first_fails_the_gate_the_second_is_taken(bench: Bench) -> None:
    done = bench.run(submit(bench, FAILS))
    assert done.status is Status.COMPLETED, done.error
    assert names(done) == ["fetch", "prepare", "compile-fast", "verify-fast", "compile-middle", "verify-middle",
                           "publish"]
    assert [(record.name, record.refused) for record in done.stages if record.refused] == [("verify-fast", GATE)]
    shown = view_task(done)
    assert [(stage.status, stage.refused) for stage in shown.stages][3:5] == [("failed", GATE), ("completed", None)]
    assert [row.message.zh for row in shown.result.attempts] == ["fast 不行", ""]
    assert told(done.result.attempts) == [("fast", "failed"), ("middle", "passed")]
    failed, _ = done.result.attempts
    assert (failed.code, failed.stage, failed.message, failed.message_zh) == (
        GATE, "verify-fast", "fast does not do", "fast 不行")
    assert failed.accuracy["cosine"] == 0.5 and failed.size_bytes == done.result.size_bytes and not failed.chosen


def test_what_the_tool_refuses_is_passed_over_and_leaves_no_size(bench: Bench) -> None:
    done = bench.run(submit(bench, {"compile-fast": "compile_failed", "compile-middle": "unsupported_operator"}))
    assert names(done)[2:] == ["compile-fast", "compile-middle", "compile-exact", "verify-exact", "publish"]
    assert told(done.result.attempts) == [("fast", "failed"), ("middle", "failed"), ("exact", "passed")]
    assert [(row.code, row.size_bytes) for row in done.result.attempts[:2]] == [
        ("compile_failed", None), ("unsupported_operator", None)]


def test_if_none_passes_the_task_fails_by_the_gate_and_tells_what_it_has_tried(bench: Bench) -> None:
    failed = bench.run(submit(bench, NONE))
    assert (failed.status, failed.owner, failed.error.code) == (Status.FAILED, None, GATE)
    assert failed.error.stage == "verify-exact" and failed.error.hint == "not exact"
    assert failed.error.message == (
        "no conversion that was tried passes (fast: accuracy_too_low, middle: compile_failed, "
        "exact: accuracy_too_low); exact: exact does not do")
    assert told(failed.error.attempts) == [("fast", "failed"), ("middle", "failed"), ("exact", "failed")]
    assert bench.outputs() == []
    for language, words in (("zh", "不行"), ("en", "does not do")):
        shown = json.loads(to_json(view_task(failed), context={"language": language}))["error"]["attempts"]
        assert [row["message"] for row in shown] == [f"{name} {words}" for name in ("fast", "middle", "exact")]
        assert "message_zh" not in shown[0]


def test_without_the_gate_among_the_reasons_it_fails_by_the_most_exact_one(bench: Bench) -> None:
    failed = bench.run(submit(bench, {"compile-fast": "compile_failed", "compile-middle": "compile_failed",
                                      "compile-exact": "unsupported_operator"}))
    assert (failed.error.code, failed.error.stage) == ("unsupported_operator", "compile-exact")


def test_what_would_spoil_every_attempt_fails_the_task_at_once(bench: Bench) -> None:
    failed = bench.run(submit(bench, {"compile-fast": "toolchain_broken"}))
    assert (failed.error.code, failed.error.stage, failed.error.attempts) == ("toolchain_broken", "compile-fast", None)
    assert names(failed) == ["fetch", "prepare"]


def test_what_all_share_fails_the_task_under_its_own_name(bench: Bench) -> None:
    bench.upload("in/model.onnx", b"no model")
    failed = bench.run(submit(bench))
    assert failed.error.stage == "fetch" and failed.error.attempts is None


def test_a_client_who_takes_any_accuracy_gets_the_most_exact_one(bench: Bench) -> None:
    outcomes = {"verify-fast": GATE, "verify-middle": GATE, "verify-exact": GATE}
    done = bench.run(submit(bench, outcomes, accept_accuracy=True))
    assert done.status is Status.COMPLETED, done.error
    assert bench.runs()["compile-exact"] == 1
    assert told(done.result.attempts)[-1] == ("exact-accepted", "accepted")
    assert done.result.accuracy["accepted"] is True
    passed = bench.run(submit(bench, FAILS, accept_accuracy=True, output_path="out/b.xml"))
    assert told(passed.result.attempts) == [("fast", "failed"), ("middle", "passed")]


def test_a_quantized_artefact_that_nothing_can_run_is_no_choice(bench: Bench) -> None:
    done = bench.run(submit(bench, {f"verify-{name}": "unrunnable" for name in ("fast", "middle", "exact")}))
    assert done.status is Status.COMPLETED, done.error
    assert told(done.result.attempts) == [("fast", "not_compared"), ("middle", "not_compared"),
                                          ("exact", "not_compared")]
    assert [row.chosen for row in done.result.attempts] == [False, False, True]
    assert any("cannot run the artefact" in warning for warning in read(bench, done.result.report_path)["warnings"])


# --- what is said of it -----------------------------------------------------------------------------------------------


def test_manifest_and_report_are_those_of_the_chosen_conversion_and_have_the_table(bench: Bench) -> None:
    done = bench.run(submit(bench, FAILS))
    manifest, report = (read(bench, path) for path in (done.result.manifest_path, done.result.report_path))
    assert (manifest["parameters"]["precision"], manifest["parameters"]["method"]) == ("int8", "middle")
    assert "auto_time_s" not in manifest["parameters"]
    assert [stage["name"] for stage in manifest["stages"]] == ["fetch", "prepare", "compile", "verify"]
    assert manifest["stages"][2]["parameters"]["method"] == "middle"
    assert manifest["auto"]["requested"]["precision"] == "auto"
    assert [row["status"] for row in manifest["auto"]["attempts"]] == ["failed", "passed"]
    assert told(Report.model_validate(report).attempts) == [("fast", "failed"), ("middle", "passed")]
    assert [timing["stage"] for timing in report["timings"]] == ["fetch", "prepare", "compile", "verify"]
    page = bench.content(done.result.report_page_path).decode()
    assert "What precision auto has tried" in page and "fast does not do" in page and "passed, chosen" in page


def test_a_plain_task_of_the_chosen_precision_takes_all_its_stages_from_the_cache_and_the_other_way_round(
        bench: Bench) -> None:
    bench.run(submit(bench, FAILS))
    plain = bench.run(submit(bench, FAILS, precision="int8", method="middle", output_path="out/b.xml"))
    assert [(record.name, record.cached) for record in plain.stages] == [
        ("fetch", True), ("prepare", True), ("compile", True), ("verify", True), ("publish", False)]
    assert plain.result.attempts is None
    again = bench.run(submit(bench, FAILS, output_path="out/c.xml"))
    assert [record.cached for record in again.stages] == [True] * 6 + [False], "a refusal is a result as well"
    assert bench.runs()["verify-fast"] == 1


def test_the_progress_never_goes_back_and_its_events_name_the_attempts(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    begin, commit = transitions.begin_stage, transitions.commit_stages
    monkeypatch.setattr(transitions, "begin_stage", lambda *args: seen.append(args[3]) or begin(*args))
    monkeypatch.setattr(transitions, "commit_stages",
                        lambda *args: seen.append(args[3]) or commit(*args))
    task = submit(bench, {"verify-fast": GATE, "compile-middle": "compile_failed"})
    done = bench.run(task)
    assert seen == sorted(seen) and 0.0 < seen[-1] < 100.0 and done.progress == 100.0
    events = bench.store.events(task.id)
    assert {event.data["stage"]: event.data["refused"] for event in events if "refused" in event.data} == {
        "verify-fast": GATE, "compile-middle": "compile_failed"}
    started = [event.data["stage"] for event in events if event.type == "stage_started"]
    assert started == ["fetch", "prepare", "compile-fast", "verify-fast", "compile-middle", "compile-exact",
                       "verify-exact", "publish"]


# --- pause, crash, retry ----------------------------------------------------------------------------------------------


def gate_of(bench: Bench, stage: str) -> tuple[dict[str, str], Path]:
    path = bench.folder / f"gate-{stage}"
    return {stage: str(path)}, path


def test_a_task_paused_in_its_second_attempt_goes_on_there_on_another_machine(
        bench: Bench, hosts: dict[str, ToolHost]) -> None:
    gates, gate = gate_of(bench, "compile-middle")
    running = Running(bench, submit(bench, FAILS, gates=gates))
    running.at("compile-middle")
    assert bench.store.update(running.task.id, transitions.pause())
    gate.touch()  # the stage ends before the worker hears of the pause
    parked = running.end()
    assert (parked.status, parked.owner, names(parked)[-1]) == (Status.PAUSED, None, "compile-middle")
    bench.store.update(running.task.id, transitions.resume())
    other = Bench(bench.folder, hosts, cache_dir=bench.folder / "other-cache")
    other.plan = AUTO_PLAN
    done = other.run(running.task, "w2")
    assert (done.status, done.epoch) == (Status.COMPLETED, 2)
    assert told(done.result.attempts) == [("fast", "failed"), ("middle", "passed")]
    assert {name: count for name, count in bench.runs().items() if "-" in name} == {
        "compile-fast": 1, "verify-fast": 1, "compile-middle": 1, "verify-middle": 1}


def test_a_worker_that_is_killed_in_the_second_attempt_costs_that_stage_alone(bench: Bench, tmp_path: Path) -> None:
    gates, gate = gate_of(bench, "compile-middle")
    victim = WorkerProcess(make_settings(tmp_path), "tests.integration.auto_worker").wait_ready()
    task = submit(bench, FAILS, gates=gates)
    wait_until(lambda: bench.runs()["compile-middle"] and "verify-fast" in names(bench.store.get(task.id)))
    victim.kill()
    gate.touch()
    heir = WorkerProcess(make_settings(tmp_path, lease_s=TAKEOVER_S), "tests.integration.auto_worker").wait_ready()
    try:
        wait_until(lambda: bench.store.get(task.id).status is Status.COMPLETED)
    finally:
        heir.terminate()
    assert bench.runs() == {"prepare": 1, "compile-fast": 1, "verify-fast": 1, "compile-middle": 2,
                            "verify-middle": 1}
    assert told(bench.store.get(task.id).result.attempts) == [("fast", "failed"), ("middle", "passed")]


def test_a_retry_tries_again_what_may_succeed_and_takes_what_was_refused_from_the_cache(bench: Bench) -> None:
    task = submit(bench, {"verify-fast": GATE, "compile-middle": "out_of_memory", "verify-exact": GATE})
    assert bench.run(task).error.code == GATE
    bench.store.update(task.id, transitions.retry())
    again = bench.run(task)
    assert (again.status, again.error.code) == (Status.FAILED, GATE)
    assert {name: count for name, count in bench.runs().items() if "-" in name} == {
        "compile-fast": 1, "verify-fast": 1, "compile-middle": 2, "compile-exact": 1, "verify-exact": 1}


def test_what_went_wrong_in_one_tasks_run_is_not_held_against_another_task(bench: Bench) -> None:
    outcomes = {"compile-fast": "out_of_memory"}
    for number in range(2):
        done = bench.run(submit(bench, outcomes, output_path=f"out/{number}.xml"))
        assert told(done.result.attempts) == [("fast", "failed"), ("middle", "passed")]
    assert bench.runs()["compile-fast"] == 2


# --- its time ---------------------------------------------------------------------------------------------------------


def test_when_the_time_is_over_the_rest_is_skipped_and_the_most_exact_one_is_made(bench: Bench) -> None:
    gates, _ = gate_of(bench, "compile-fast")  # it never opens
    done = bench.run(submit(bench, gates=gates, auto_time_s=1.0))
    assert done.status is Status.COMPLETED, done.error
    assert names(done) == ["fetch", "prepare", "compile-fast", "compile-exact", "verify-exact", "publish"]
    assert told(done.result.attempts) == [("fast", "failed"), ("middle", "skipped"), ("exact", "passed")]
    fast, middle, _ = done.result.attempts
    assert fast.code == "timeout" and "left of auto_time_s" in fast.message and fast.seconds >= 1.0
    assert "auto_time_s" in middle.message and middle.seconds is None


def test_a_version_that_can_try_nothing_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    task = submit(bench)
    monkeypatch.setattr(PLATFORM.parameters, "candidates", ())
    failed = bench.run(task)
    assert (failed.error.code, names(failed)) == ("version_mismatch", [])
