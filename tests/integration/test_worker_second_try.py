"""A plain task whose simplified model is refused is converted once more, from the model as it was sent."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared import transitions
from shared.api.views import view_task
from shared.documents import Status, Task
from shared.platforms import get_platforms
from tests.integration.second_kit import NAME, PLATFORM, SECOND_PLAN, submit
from tests.integration.worker_kit import TAKEOVER_S, Bench, Running, WorkerProcess, make_settings, wait_until
from worker.process import ToolHost
from worker.report import Report

GATE = "accuracy_too_low"
FAILS = {"verify-simplified": GATE}
BOTH = {"verify-simplified": GATE, "compile-as-sent": "compile_failed"}
SECOND = ["optimize-as-sent", "reference-as-sent", "compile-as-sent", "verify-as-sent"]
ONE = ["fetch", "inspect", "optimize", "reference", "compile", "verify", "publish"]


@pytest.fixture(autouse=True)
def passes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(get_platforms(), NAME, PLATFORM)
    bench.plan = SECOND_PLAN


def names(task: Task) -> list[str]:
    return [record.name for record in task.stages]


def told(attempts: Any) -> list[tuple[str, str]]:
    return [(row.name, row.status) for row in attempts]


def read(bench: Bench, path: str) -> Any:
    return json.loads(bench.content(path))


# --- when -------------------------------------------------------------------------------------------------------------


def test_a_conversion_that_passes_is_the_only_one_and_tells_of_no_attempts(bench: Bench) -> None:
    done = bench.run(submit(bench))
    assert (done.status, names(done), done.result.attempts) == (Status.COMPLETED, ONE, None), done.error
    assert "second_try" not in read(bench, done.result.manifest_path)


@pytest.mark.parametrize(("stage", "code"), [
    ("verify", GATE), ("verify", "verify_failed"), ("compile", "compile_failed"), ("compile", "unsupported_operator"),
    ("compile", "crash")])
def test_what_refuses_the_simplified_model_lets_the_model_as_sent_be_tried(bench: Bench, stage: str, code: str) -> None:
    done = bench.run(submit(bench, {f"{stage}-simplified": code}))
    assert done.status is Status.COMPLETED, done.error
    before = ONE[:ONE.index(stage)]
    assert names(done) == [*before, f"{stage}-simplified", *SECOND, "publish"]
    assert told(done.result.attempts) == [("simplified", "failed"), ("as-sent", "passed")]
    assert bench.content(done.result.path) == b"as-sent" + PLATFORM.artefact_suffix.encode()
    assert set(bench.runs().values()) == {1} and done.progress == 100.0


@pytest.mark.parametrize("code", ["already_quantized", "option_invalid", "toolchain_broken", "out_of_memory"])
def test_what_the_passes_are_not_the_cause_of_fails_the_task_at_once(bench: Bench, code: str) -> None:
    failed = bench.run(submit(bench, {"compile-simplified": code}))
    assert (failed.status, failed.error.code, failed.error.stage) == (Status.FAILED, code, "compile")
    assert failed.error.attempts is None and failed.error.message == "simplified does not do"
    assert names(failed) == ["fetch", "inspect", "optimize", "reference"]


@pytest.mark.parametrize("more", [{"rewrites": False}, {"simplify": True}])
def test_there_is_no_second_conversion_of_what_the_passes_left_alone_or_the_client_chose(
        bench: Bench, more: dict[str, bool]) -> None:
    failed = bench.run(submit(bench, FAILS, **more))
    assert (failed.error.code, failed.error.message) == (GATE, "simplified does not do")
    assert failed.error.attempts is None and not any("as-sent" in name for name in bench.runs())


def test_a_model_that_is_not_to_be_simplified_is_converted_once(bench: Bench) -> None:
    failed = bench.run(submit(bench, {"verify-as-sent": GATE}, simplify=False))
    assert (failed.error.message, failed.error.attempts) == ("as-sent does not do", None)
    assert bench.runs()["compile-as-sent"] == 1 and not bench.runs()["compile-simplified"]


def test_a_client_who_takes_any_accuracy_gets_the_first_conversion(bench: Bench) -> None:
    done = bench.run(submit(bench, FAILS, accept_accuracy=True))
    assert (names(done), done.result.accuracy["accepted"], done.result.attempts) == (ONE, True, None)


# --- what is told -----------------------------------------------------------------------------------------------------


def test_if_both_fail_the_error_is_the_first_one_and_names_the_second(bench: Bench) -> None:
    failed = bench.run(submit(bench, BOTH))
    error = failed.error
    assert (failed.status, error.code, error.stage) == (Status.FAILED, GATE, "verify")
    assert (error.vendor_code, error.hint) == ("E-simplified", "not simplified")
    assert error.message == ("simplified does not do; a second conversion, of the model as it was sent (simplify: "
                             "false), fails too (compile-as-sent: compile_failed)")
    assert error.message_zh.startswith("simplified 不行; ") and "compile-as-sent: compile_failed" in error.message_zh
    assert told(error.attempts) == [("simplified", "failed"), ("as-sent", "failed")]
    assert [row.accuracy and row.accuracy["cosine"] for row in error.attempts] == [0.5, None]
    assert bench.outputs() == []


@pytest.mark.parametrize("stage", ["optimize", "reference"])
def test_a_second_conversion_that_does_not_reach_the_compiler_is_no_reason_of_its_own(bench: Bench, stage: str) -> None:
    failed = bench.run(submit(bench, FAILS | {f"{stage}-as-sent": "reference_failed"}))
    assert (failed.error.code, failed.error.stage) == (GATE, "verify")
    assert f"{stage}-as-sent: reference_failed" in failed.error.message


def test_a_broken_toolchain_in_the_second_conversion_fails_the_task_by_that(bench: Bench) -> None:
    failed = bench.run(submit(bench, FAILS | {"compile-as-sent": "toolchain_broken"}))
    assert (failed.error.code, failed.error.stage) == ("toolchain_broken", "compile-as-sent")


def test_table_events_view_manifest_and_report_tell_of_both(bench: Bench) -> None:
    task = submit(bench, FAILS)
    done = bench.run(task)
    simplified, as_sent = done.result.attempts
    assert (simplified.code, simplified.stage, simplified.accuracy["cosine"]) == (GATE, "verify", 0.5)
    assert (simplified.precision, simplified.parameters, as_sent.parameters) == (
        "fp16", {}, {"simplify": False})
    assert (simplified.chosen, as_sent.chosen, as_sent.size_bytes) == (False, True, done.result.size_bytes)
    assert [(stage.name, stage.status, stage.refused) for stage in view_task(done).stages][5:7] == [
        ("verify-simplified", "failed", GATE), ("optimize-as-sent", "completed", None)]
    events = bench.store.events(task.id)
    assert {event.data["stage"]: event.data["refused"] for event in events if "refused" in event.data} == {
        "verify-simplified": GATE}
    assert [event.data["stage"] for event in events if event.type == "stage_started"] == [*ONE[:-1], *SECOND, "publish"]
    manifest, report = (read(bench, path) for path in (done.result.manifest_path, done.result.report_path))
    assert manifest["parameters"]["simplify"] is False and "simplify" not in manifest["second_try"]["requested"]
    assert [stage["name"] for stage in manifest["stages"]] == ONE[:-1]
    assert [row["status"] for row in manifest["second_try"]["attempts"]] == ["failed", "passed"]
    assert told(Report.model_validate(report).attempts) == [("simplified", "failed"), ("as-sent", "passed")]
    assert any("made of the model as it was sent" in warning for warning in report["warnings"])
    page = bench.content(done.result.report_page_path).decode()
    assert "What was tried" in page and "precision auto" not in page and "passed, chosen" in page


def test_the_progress_never_goes_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    begin, commit = transitions.begin_stage, transitions.commit_stages
    monkeypatch.setattr(transitions, "begin_stage", lambda *args: seen.append(args[3]) or begin(*args))
    monkeypatch.setattr(transitions, "commit_stages", lambda *args: seen.append(args[3]) or commit(*args))
    done = bench.run(submit(bench, {"compile-simplified": "compile_failed"}))
    assert seen == sorted(seen) and seen[0] < 20.0 and seen[-1] < 100.0 and done.progress == 100.0


# --- what it shares ---------------------------------------------------------------------------------------------------


def test_it_shares_its_stages_with_tasks_of_either_kind_and_its_refusals_with_none(bench: Bench) -> None:
    bench.run(submit(bench, FAILS))
    plain = bench.run(submit(bench, FAILS, simplify=False, output_path="out/b.xml"))
    assert [record.cached for record in plain.stages] == [True] * 6 + [False]
    again = bench.run(submit(bench, FAILS, output_path="out/c.xml"))
    assert again.status is Status.COMPLETED
    assert [record.name for record in again.stages if not record.cached] == ["verify-simplified", "publish"]


# --- pause, crash, retry ----------------------------------------------------------------------------------------------


def gate_of(bench: Bench, stage: str) -> tuple[dict[str, str], Path]:
    path = bench.folder / f"gate-{stage}"
    return {stage: str(path)}, path


def test_a_task_paused_in_its_second_conversion_goes_on_there_on_another_machine(
        bench: Bench, hosts: dict[str, ToolHost]) -> None:
    gates, gate = gate_of(bench, "compile-as-sent")
    running = Running(bench, submit(bench, FAILS, gates=gates))
    running.at("compile-as-sent")
    assert bench.store.update(running.task.id, transitions.pause())
    gate.touch()  # the stage ends before the worker hears of the pause
    parked = running.end()
    assert (parked.status, names(parked)[-1]) == (Status.PAUSED, "compile-as-sent")
    bench.store.update(running.task.id, transitions.resume())
    other = Bench(bench.folder, hosts, cache_dir=bench.folder / "other-cache")
    other.plan = SECOND_PLAN
    done = other.run(running.task, "w2")
    assert (done.status, done.epoch) == (Status.COMPLETED, 2), done.error
    assert told(done.result.attempts) == [("simplified", "failed"), ("as-sent", "passed")]
    assert set(bench.runs().values()) == {1}


def test_a_cancel_in_the_second_conversion_ends_the_task_and_a_retry_goes_on_there(bench: Bench) -> None:
    gates, gate = gate_of(bench, "compile-as-sent")
    running = Running(bench, submit(bench, FAILS, gates=gates))
    running.at("compile-as-sent")
    running.change(transitions.cancel())
    cancelled = running.end()
    assert (cancelled.status, cancelled.error.code) == (Status.FAILED, "cancelled") and bench.outputs() == []
    gate.touch()
    bench.store.update(running.task.id, transitions.retry())
    done = bench.run(running.task)
    assert done.status is Status.COMPLETED, done.error
    assert {name: count for name, count in bench.runs().items() if count > 1} == {"compile-as-sent": 2}


def test_a_worker_that_is_killed_in_the_second_conversion_costs_that_stage_alone(bench: Bench, tmp_path: Path) -> None:
    gates, gate = gate_of(bench, "compile-as-sent")
    victim = WorkerProcess(make_settings(tmp_path), "tests.integration.second_worker").wait_ready()
    task = submit(bench, FAILS, gates=gates)
    wait_until(lambda: bench.runs()["compile-as-sent"] and "reference-as-sent" in names(bench.store.get(task.id)))
    victim.kill()
    gate.touch()
    heir = WorkerProcess(make_settings(tmp_path, lease_s=TAKEOVER_S), "tests.integration.second_worker").wait_ready()
    try:
        wait_until(lambda: bench.store.get(task.id).status is Status.COMPLETED)
    finally:
        heir.terminate()
    assert {name: count for name, count in bench.runs().items() if count > 1} == {"compile-as-sent": 2}
    assert told(bench.store.get(task.id).result.attempts) == [("simplified", "failed"), ("as-sent", "passed")]


def test_a_retry_of_a_task_that_failed_of_both_runs_both_again(bench: Bench) -> None:
    task = submit(bench, BOTH)
    first = bench.run(task)
    bench.store.update(task.id, transitions.retry())
    again = bench.run(task)
    assert (again.status, again.error.message, names(again)) == (Status.FAILED, first.error.message, names(first))
    assert {name: count for name, count in bench.runs().items() if count > 1} == {
        "verify-simplified": 2, "compile-as-sent": 2}


def test_a_version_that_knows_no_second_try_takes_no_refusal_for_a_result(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gates, gate = gate_of(bench, "compile-as-sent")
    running = Running(bench, submit(bench, FAILS, gates=gates))
    running.at("compile-as-sent")
    running.change(transitions.pause())
    gate.touch()
    running.end()
    bench.store.update(running.task.id, transitions.resume())
    monkeypatch.setattr("worker.second_try._passes", lambda plan: None)
    failed = bench.run(running.task)
    assert (failed.status, failed.error.code, failed.error.message) == (Status.FAILED, GATE, "simplified does not do")
