"""What becomes of one uploaded object: by its rules, its metadata, its sidecar and its external data."""
from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.api.deletion import delete_tasks
from shared.deps import get_files
from shared.errors import Unavailable
from shared.files.minio import MinioFiles
from shared.marks import Mark, write_mark
from shared.store.sqlite import SqliteStore
from tests.integration.toy_models import model_with_data_beside_it

if TYPE_CHECKING:
    from tests.integration.uploads_kit import Uploads

pytest_plugins = ["tests.integration.uploads_kit"]

NAMES_THAT_HURT = [
    "intel/two words.onnx", "intel/a+b.onnx", "intel/100%.onnx", "intel/a%20b.onnx", "intel/%25.onnx",
    "intel/模型/检测.onnx", "intel/🚀.onnx", "intel/a&b=c?d#e.onnx", "intel/'quotes\".onnx", "intel/.hidden.onnx",
    "intel/" + "/".join(["x" * 200] * 4) + "/" + "y" * (1024 - 6 - 804 - 1 - 5 - 24) + ".onnx"]
REFUSED_NAMES = ["intel/../a.onnx", "/intel/a.onnx", "intel//a.onnx", "intel/a%2Fb.onnx", "intel/%2e%2e/a.onnx",
                 "intel/a\\b.onnx", "intel/a\nb.onnx", "intel/", "intel/" + "x" * 300 + ".onnx",
                 "intel/" + "x/" * 600 + "a.onnx"]


def test_an_upload_is_one_task_however_often_it_is_told_of(uploads: Uploads) -> None:
    key = uploads.put("intel/a.onnx")
    first = uploads.take_one(key)
    again = [uploads.take_one(key) for _ in range(3)]
    assert first.is_new and [(one.is_new, one.task_ids) for one in again] == [(False, first.task_ids)] * 3
    (task,) = uploads.tasks()
    assert task.source is not None
    assert (task.platform, task.input_path, task.source.bucket, task.source.key, task.source.rule) == (
        "intel", f"{uploads.bucket}/{key}", uploads.bucket, key, "uploads")


def test_doors_that_hear_of_it_at_once_make_one_task(uploads: Uploads) -> None:
    key = uploads.put("intel/a.onnx")
    with ThreadPoolExecutor(8) as pool:
        taken = [one for entries in pool.map(lambda _: uploads.take(key), range(16)) for one in entries]
    assert len(uploads.tasks()) == 1 and len({one.task_ids for one in taken}) == 1
    assert [one.is_new for one in taken].count(True) == 1  # the others say that it was there


def test_an_upload_of_another_content_is_another_task(uploads: Uploads) -> None:
    taken = []
    for content in (b"first", b"second, longer"):
        uploads.put("intel/a.onnx", content)
        taken.append(uploads.take_one("intel/a.onnx"))
    assert all(one.is_new for one in taken) and len(uploads.tasks()) == 2


@pytest.mark.parametrize("key", NAMES_THAT_HURT)
def test_a_name_that_hurts_is_taken_as_it_is(uploads: Uploads, key: str) -> None:
    assert len(f"{uploads.bucket}/{key}".encode()) <= 1024
    taken = uploads.take_one(uploads.put(key))
    assert taken.is_new, taken.ignored
    assert [task.input_path for task in uploads.tasks()] == [f"{uploads.bucket}/{key}"]


@pytest.mark.parametrize("key", REFUSED_NAMES)
def test_a_name_that_would_harm_is_refused_with_the_reason(in_folder: Uploads, key: str) -> None:
    ignored = in_folder.take_one(key).ignored
    assert ignored is not None and ignored.en.startswith("the object's name is not valid: ")
    assert in_folder.tasks() == []


@pytest.mark.parametrize(("key", "why"), [
    ("intel/gone.onnx", "the object is gone"), ("intel/notes.txt", "no rule fits the object"),
    ("intel/gone.onnx.toml", "has no model; it counts once the model is there"), ("intel/.onnx", "no rule fits")])
def test_what_starts_nothing_says_why(uploads: Uploads, key: str, why: str) -> None:
    ignored = uploads.take_one(key).ignored
    assert ignored is not None and why in ignored.en and ignored.zh != ignored.en


def test_a_target_or_a_chip_that_is_none_is_ignored_with_the_reason(uploads: Uploads) -> None:
    reasons = [str(uploads.take_one(uploads.put(key)).ignored) for key in (
        "amd/a.onnx", "rockchip/rk99/a.onnx", "rockchip/a.onnx")]
    assert ["amd is no target" in reasons[0], "rk99 is no chip of rockchip" in reasons[1],
            "the chip is missing" in reasons[2]] == [True] * 3
    assert uploads.tasks() == []


def test_metadata_says_what_the_folders_do_not(in_minio: Uploads) -> None:
    key = in_minio.put("mine/a.onnx", metadata={
        "platform": "rockchip", "task-type": "onnx_to_rknn", "priority": "high",
        "parameters": json.dumps({"chip": "rk3566"}), "labels": '{"team": "vision"}', "author": "somebody"})
    assert in_minio.take_one(key).is_new
    (task,) = in_minio.tasks()
    assert (task.platform, task.parameters["chip"], task.priority, task.labels) == (
        "rockchip", "rk3566", "high", {"team": "vision"})


@pytest.mark.parametrize(("metadata", "why"), [
    ({"platform": "intel", "parameters": "{"}, "the object's metadata parameters is not valid"),
    ({"platform": "=?utf-8?b?a?="}, "the object's metadata platform is not valid: Base64"),
    ({"labels": "=?nonsense?q?a?="}, "the object's metadata labels is not valid: unknown encoding: nonsense"),
    ({"platform": "amd"}, "amd is no target"), ({"platform": "intel", "priority": "urgent"}, "metadata priority"),
    ({"platform": "intel", "parameters": '{"precison": "fp16"}'}, "parameters.precison is not a known field")])
def test_metadata_that_is_wrong_starts_nothing_and_says_why(in_minio: Uploads, metadata: dict[str, str], why: str
                                                            ) -> None:
    assert why in str(in_minio.take_one(in_minio.put("mine/a.onnx", metadata=metadata)).ignored)
    assert in_minio.tasks() == []


def test_a_sidecar_is_over_metadata_and_metadata_over_the_rule(start: Callable[..., Uploads], minio_url: str) -> None:
    uploads = start(minio_url, '[[rule]]\nname = "a"\nbucket = "{bucket}"\ntarget = "intel"\npriority = "low"\n'
                               'parameters = { precision = "fp32", simplify = false }\nlabels = { from = "rule" }\n')
    uploads.put("a.onnx.toml", b'labels = { from = "sidecar" }\n[parameters]\nprecision = "fp16"\n')
    uploads.put("a.onnx", metadata={"priority": "high", "labels": '{"from": "metadata", "also": "this"}'})
    assert uploads.take_one("a.onnx").is_new
    (task,) = uploads.tasks()
    assert (task.priority, task.labels, task.parameters["precision"], task.parameters["simplify"]) == (
        "high", {"from": "sidecar", "also": "this"}, "fp16", False)


@pytest.mark.parametrize(("suffix", "first", "second"), [
    (".toml", b'parameters = { precision = "fp32" }', b'parameters = { precision = "fp16" }\npriority = "low"'),
    (".json", b'{"parameters": {"precision": "fp32"}}', b'{"parameters": {"precision": "fp16"}, "priority": "low"}')])
def test_a_sidecar_that_comes_late_or_changes_starts_what_it_describes(uploads: Uploads, suffix: str, first: bytes,
                                                                       second: bytes) -> None:
    key = uploads.put("intel/a.onnx")
    assert uploads.take_one(key).is_new
    for content in (first, second):
        uploads.put(key + suffix, content)
        assert uploads.take_one(key + suffix).is_new
        assert not uploads.take_one(key + suffix).is_new and not uploads.take_one(key).is_new
    assert [task.parameters["precision"] for task in uploads.tasks()] == ["fp16", "fp32", "fp16"]
    assert {task.input_path for task in uploads.tasks()} == {f"{uploads.bucket}/{key}"}


@pytest.mark.parametrize(("name", "content", "why"), [
    ("a.onnx.toml", b"platform = ", "Invalid value"), ("a.onnx.json", b"{", "Expecting property name"),
    ("a.onnx.json", b"[]", "should be a JSON object"), ("a.onnx.toml", b"\xff", "invalid start byte"),
    ("a.onnx.toml", b'output_path = "results/x.xml"', "output_path is not a known field"),
    ("a.onnx.toml", b"#" * 70_000, "at most 64 KiB"), ("a.onnx.json", b"[" * 60_000, "")])
def test_a_sidecar_that_cannot_be_used_starts_nothing_and_says_why(uploads: Uploads, name: str, content: bytes,
                                                                   why: str) -> None:
    uploads.put("intel/a.onnx")
    uploads.put(f"intel/{name}", content)
    ignored = str(uploads.take_one("intel/a.onnx").ignored)
    assert f"the sidecar {uploads.bucket}/intel/{name} is not valid" in ignored and why in ignored
    assert uploads.tasks() == []


def test_labels_that_are_too_many_together_are_refused_with_the_reason(start: Callable[..., Uploads], minio_url: str
                                                                       ) -> None:
    """Metadata and sidecar by themselves, and both with the rule's own."""
    uploads = start(minio_url, '[[rule]]\nname = "a"\nbucket = "{bucket}"\ntarget = "intel"\nlabels = { own = "x" }\n')
    many = json.dumps({f"label-{number}": "x" for number in range(16)})
    uploads.put("a.onnx.json", b'{"labels": {"another": "x"}}')
    uploads.put("a.onnx", metadata={"labels": many})
    uploads.put("b.onnx.json", f'{{"labels": {many}}}'.encode())
    uploads.put("b.onnx")
    both, rules = (uploads.take_one(key).ignored for key in ("a.onnx", "b.onnx"))
    assert both is not None and "metadata and sidecar together are not valid: invalid request: labels" in both.en
    assert rules is not None and rules.en.startswith("rule a: invalid request: labels") and rules.zh != rules.en
    assert sorted(uploads.sweep(2)) == [] and uploads.tasks() == []


def test_parameters_that_are_too_large_together_are_refused_with_the_reason(in_minio: Uploads) -> None:
    in_minio.put("intel/a.onnx.json", json.dumps({"parameters": {"x": "a" * 64_000}}).encode())
    in_minio.put("intel/a.onnx", metadata={"parameters": json.dumps({"y": "a" * 1700})})
    why = str(in_minio.take_one("intel/a.onnx").ignored)
    assert "together are not valid: invalid request: parameters should be at most 64 KiB" in why


def test_each_rule_that_fits_makes_its_tasks_and_several_targets_are_a_group(start: Callable[..., Uploads],
                                                                             files_url: str) -> None:
    uploads = start(files_url, '''
        [[rule]]
        name = "all"
        bucket = "{bucket}"
        target = "intel"
        [[rule]]
        name = "some"
        bucket = "{bucket}"
        prefix = "some/"
        targets = ["intel", { platform = "rockchip", parameters = { chip = "rk3588" } }]
        output_prefix = "{bucket}-out/"
        ''')
    taken = uploads.take(uploads.put("some/deep/a.onnx"))
    assert [(len(one.task_ids), one.is_new) for one in taken] == [(1, True), (2, True)]
    assert sorted(task.output_path for task in uploads.tasks() if task.group_id) == [
        f"{uploads.bucket}-out/intel/deep/a.xml", f"{uploads.bucket}-out/rockchip-rk3588/deep/a.rknn"]
    assert [(one.task_ids, one.is_new) for one in uploads.take("some/deep/a.onnx")] == [
        (one.task_ids, False) for one in taken]


def test_a_task_that_was_deleted_comes_back_by_another_upload_only(uploads: Uploads) -> None:
    key = uploads.put("intel/a.onnx")
    assert delete_tasks(list(uploads.take_one(key).task_ids))
    assert "was deleted" in str(uploads.take_one(key).ignored) and uploads.tasks() == []
    uploads.put(key, b"another one, and longer")
    assert uploads.take_one(key).is_new


def test_the_same_content_uploaded_again_after_the_deletion_is_converted_again(in_minio: Uploads) -> None:
    """Each store's times are whole seconds at the coarsest, so a later one has to begin."""
    key = in_minio.put("intel/a.onnx")
    assert in_minio.sweep() == [key]
    delete_tasks([task.id for task in in_minio.tasks()])
    assert in_minio.sweep() == []
    deadline = time.monotonic() + 60
    while not in_minio.sweep():
        assert time.monotonic() < deadline
        in_minio.put(key)
    assert len(in_minio.tasks()) == 1


def test_a_task_of_an_upload_stays_where_its_deletion_cannot_be_noted(in_minio: Uploads,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    key = in_minio.put("intel/a.onnx")
    (task_id,) = in_minio.take_one(key).task_ids

    def away(*_: object, **__: object) -> None:
        raise Unavailable("files")
    with monkeypatch.context() as patch:
        patch.setattr(MinioFiles, "upload", away)
        assert delete_tasks([task_id]) == {task_id: False}
    assert in_minio.take_one(key).task_ids == (task_id,)


def test_a_result_of_our_own_starts_nothing_wherever_it_lies(uploads: Uploads, tmp_path: Path) -> None:
    path = f"{uploads.bucket}/intel/a_ctx.onnx"
    (tmp_path / "result").write_bytes(b"a result")
    mark = write_mark(Mark("task_1", 1, "qualcomm"), path)
    get_files().upload(tmp_path / "result", path, mark=mark)
    assert str(uploads.take_one("intel/a_ctx.onnx").ignored) == "the object is a result of this service"
    assert uploads.sweep() == [] and uploads.tasks() == []


def test_a_model_waits_for_its_data_and_starts_with_the_last_file(uploads: Uploads, tmp_path: Path) -> None:
    model, data = model_with_data_beside_it(tmp_path)
    uploads.put("intel/m.onnx", model)
    assert "waits for the model's external data" in str(uploads.take_one("intel/m.onnx").ignored)
    uploads.put("intel/weights.bin", data[:-1])  # a copy under way
    assert "waits for" in str(uploads.take_one("intel/weights.bin").ignored)
    uploads.put("intel/weights.bin", data)
    taken = uploads.take_one("intel/weights.bin")
    assert taken.is_new and [task.input_path for task in uploads.tasks()] == [f"{uploads.bucket}/intel/m.onnx"]
    assert uploads.take_one("intel/m.onnx").task_ids == taken.task_ids


def test_data_that_is_replaced_starts_its_model_again(uploads: Uploads, tmp_path: Path) -> None:
    model, data = model_with_data_beside_it(tmp_path)
    uploads.put("intel/weights.bin", data)
    assert "no rule fits" in str(uploads.take_one("intel/weights.bin").ignored)  # nothing needs it yet
    uploads.put("intel/m.onnx", model)
    assert uploads.take_one("intel/m.onnx").is_new
    uploads.put("intel/weights.bin", data[::-1])
    assert uploads.take_one("intel/weights.bin").is_new and not uploads.take_one("intel/m.onnx").is_new
    assert len(uploads.tasks()) == 2


def test_rules_that_changed_make_no_second_task_of_an_upload(start: Callable[..., Uploads], files_url: str) -> None:
    rules = '[[rule]]\nname = "a"\nbucket = "{bucket}"\ntarget = "intel"\n'
    uploads = start(files_url, rules)
    taken = uploads.take_one(uploads.put("a.onnx"))
    uploads = start(files_url, rules + 'priority = "low"\n')
    assert uploads.take_one("a.onnx").task_ids == taken.task_ids


def test_a_model_that_names_itself_as_its_data_comes_to_an_end_when_its_rule_has_gone(
        start: Callable[..., Uploads], files_url: str, tmp_path: Path) -> None:
    """What needs which file was noted while the rule took the model."""
    rules = '[[rule]]\nname = "a"\nbucket = "{bucket}"\ntarget = "intel"\n'
    model, _ = model_with_data_beside_it(tmp_path)
    uploads = start(files_url, rules)
    uploads.put("itself.onnx", model.replace(b"weights.bin", b"itself.onnx"))
    uploads.take_one("itself.onnx")
    uploads = start(files_url, rules + 'suffix = "_final.onnx"\n')
    assert "no rule fits the object" in str(uploads.take_one("itself.onnx").ignored)


def test_a_store_that_does_not_answer_is_told_to_the_sender(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    key = uploads.put("intel/a.onnx")

    def away(*_: object, **__: object) -> None:
        raise Unavailable("store")
    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "insert", away)
        with pytest.raises(Unavailable):
            uploads.take(key)
    assert uploads.take_one(key).is_new
