"""POST /tasks/validate, and what creating a task refuses: told in a second what would fail after an hour."""
from __future__ import annotations

import io
import os
import time
import zipfile
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from shared.deps import close_all
from shared.files import FileInfo, Files
from shared.preflight.admission import MAX_MODEL_BYTES
from shared.store import Store, TaskFilter
from tests import models
from tests.functions.service import Caller
from tests.functions.test_dependencies_down import LIMIT_S, TIMEOUT_S, silent_port
from tests.functions.validating import ENGLISH, TARGET, Put, codes, create, validate

SHAPE = {"input_shape": [1, 3, 32, 32]}
_number = count()
def npy(*shape: int, dtype: Any = np.float32) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(shape, dtype), allow_pickle=True)
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_good_request_is_valid_and_the_model_is_described(call: Caller, put: Put, store: Store) -> None:
    model = models.convolution(["n", 3, 32, 32])
    data = validate(call, put(model))
    assert data["valid"] and codes(data) == []
    assert [entry | {"warnings": []} for entry in data["targets"]] == [
        {**dict(reversed(TARGET.items())), "valid": True, "problems": [], "warnings": []}]
    assert [warning["code"] for warning in data["targets"][0]["warnings"]] == ["shape_chosen"]
    assert data["model"] == {
        "size_bytes": len(model.SerializeToString()), "ir_version": models.IR, "opsets": {"ai.onnx": models.OPSET},
        "producer": "tests 1", "inputs": [{"name": "x", "dtype": "float", "shape": ["n", 3, 32, 32]}],
        "outputs": [{"name": "y", "dtype": "float", "shape": ["n", 5]}],
        "operators": {"BatchNormalization": 1, "Conv": 1, "Flatten": 1, "Gemm": 1, "GlobalAveragePool": 1, "Relu": 1},
        "nodes": 6}
    assert store.list_page(TaskFilter(), 1, 1) == ([], 0)


def test_a_request_that_create_refuses_is_refused_in_the_same_words(call: Caller, store: Store) -> None:
    for change in ({"platform": "abacus"}, {"input_path": "models/../x.onnx"}, {"parameters": {"precision": "int3"}},
                   {"targets": [TARGET]}, {"nonsense": 1}):
        body = TARGET | {"input_path": "models/m.onnx"} | change
        answers = [call(name, "POST", path, json=body) for name, path in (
            ("validate_task", "/tasks/validate"), ("create_task", "/tasks/create"))]
        answers[0].assert_error(400)
        assert answers[0].message == answers[1].message


def test_a_model_that_is_not_there_is_a_problem_but_may_be_uploaded_after_its_task(call: Caller, store: Store) -> None:
    path = f"models/never-{os.getpid()}-{next(_number)}.onnx"
    data = validate(call, path)
    assert not data["valid"] and codes(data) == ["input_not_found"] and data["model"] is None
    assert data["targets"][0]["problems"][0]["field"] == "input_path"
    assert create(call, path).status == 200


@pytest.mark.parametrize(("model", "parameters", "code", "field", "mention"), [
    (b"", {}, "model_empty", "input_path", "0 bytes"),
    (b"PK\x03\x04" + bytes(50), {}, "model_not_onnx", "input_path", "zip"),
    (models.convolution().SerializeToString()[:-40], {}, "model_unreadable", "input_path", "truncated"),
    (models.unary("Relu", opset=99), {}, "opset_unsupported", "input_path", "99"),
    (models.unary("Foo"), {}, "unsupported_operator", "input_path", "Foo"),
    (models.claims([1 << 40]), {}, "tensor_too_large", "input_path", "liar"),
    (models.convolution(["n", 3, "h", "w"]), {}, "dynamic_shape", "parameters.input_shape", "dimension 2 (h)"),
    (models.convolution(["n", 3, "h", 32]), {"input_shape": [1, 3, 32]}, "input_shape_mismatch",
     "parameters.input_shape", "4 dimensions"),
    (models.convolution(), {"input_shape": "pixels:1,3,32,32"}, "input_shape_mismatch", "parameters.input_shape",
     "pixels"),
    (models.convolution(["n", 3, "h", "w"]), {"input_shape": [1, 3, 1 << 15, 1 << 15]}, "tensor_too_large",
     "parameters.input_shape", "'x'"),
    (models.convolution(["n", 3, 32, 32]), {"auto_input_shape": False}, "dynamic_shape", "parameters.input_shape",
     "dimension 0"),
    (models.unary("Relu"), {"mean": [1.0]}, "preprocessing_mismatch", "parameters.mean", "no input is one"),
    (models.convolution(), {"std": [1.0, 2.0]}, "preprocessing_mismatch", "parameters.std", "3 channels"),
    (models.pair(), {"fixed_inputs": {"c": 1}}, "fixed_input_mismatch", "parameters.fixed_inputs", "a, b"),
    (models.pair(), {"fixed_inputs": {"a": True}}, "fixed_input_mismatch", "parameters.fixed_inputs", "float"),
    (models.pair(), {"fixed_inputs": {"a": [[1, 2]]}}, "fixed_input_mismatch", "parameters.fixed_inputs", "[1, 2]"),
    (models.pair(), {"fixed_inputs": {"a": 1}, "input_shape": "a:1,4;b:1,5"}, "input_shape_mismatch",
     "parameters.input_shape", "'b'"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_certain_to_fail_is_told_and_not_created(call: Caller, put: Put, store: Store, model: Any,
                                                         parameters: dict[str, Any], code: str, field: str,
                                                         mention: str) -> None:
    path = put(model)
    data = validate(call, path, ENGLISH, parameters=parameters)
    problem = data["targets"][0]["problems"][0]
    assert not data["valid"] and (problem["code"], problem["field"]) == (code, field) and problem["hint"]
    assert mention in problem["message"]
    create(call, path, ENGLISH, parameters=parameters).assert_error(400, field, code, mention, "cannot be converted")
    create(call, path, parameters=parameters).assert_error(400, field, code, "无法转换")
    assert store.list_page(TaskFilter(), 1, 1) == ([], 0)


def test_an_operator_that_the_target_refuses_is_a_problem_and_one_that_is_folded_away_is_none(call: Caller, put: Put
                                                                                              ) -> None:
    square = [models.value("x", [4, 4])], [models.value("y", [])]
    path = put(models.model([helper.make_node("Det", ["x"], ["y"])], *square))
    assert codes(validate(call, path)) == ["unsupported_operator"]
    create(call, path).assert_error(400, "unsupported_operator", "Det")
    folded = put(models.model(
        [helper.make_node("Det", ["w"], ["d"]), helper.make_node("Mul", ["x", "d"], ["y"])],
        [models.value("x", [4])], [models.value("y", [4])], [models.weights("w", 4, 4)]))
    data = validate(call, folded)
    assert data["valid"] and "Det" in data["targets"][0]["warnings"][0]["message"]
    assert create(call, folded).status == 200


def test_a_target_whose_operators_are_not_known_says_so(call: Caller, put: Put) -> None:
    data = validate(call, put(models.convolution()), task_type="onnx_to_magicmind", platform="cambricon")
    assert data["valid"] and data["targets"][0]["warnings"][0]["code"] == "operators_not_checked"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_model_that_is_quantized_already_is_named_so(call: Caller, put: Put, language: str) -> None:
    headers = ENGLISH if language == "en" else None
    data = validate(call, put(models.quantized_already()), headers)
    (warning,) = [warning for warning in data["targets"][0]["warnings"] if warning["code"] == "model_quantized"]
    assert data["valid"] and "(QuantizeLinear)" in warning["message"] and "precision" in warning["message"]
    assert ("quantised already" if language == "en" else "已经量化") in warning["message"]
    assert "model_quantized" not in str(validate(call, put(models.convolution())))


def test_each_of_several_targets_has_a_verdict_of_its_own(call: Caller, put: Put, store: Store) -> None:
    path = put(models.convolution(["n", 3, "h", "w"]))
    targets = [TARGET | {"parameters": SHAPE}, {"task_type": "onnx_to_rknn", "platform": "rockchip",
                                                "parameters": {"chip": "rk3588"}}]
    body = {"input_path": path, "targets": targets}
    answer = call("validate_task", "POST", "/tasks/validate", json=body)
    assert [(entry["platform"], entry["valid"]) for entry in answer.data["targets"]] == [
        ("intel", True), ("rockchip", False)]
    assert codes(answer.data, 1) == ["dynamic_shape"] and not answer.data["valid"]
    call("create_task", "POST", "/tasks/create", json=body).assert_error(400, "targets[1].parameters.input_shape")
    assert store.list_page(TaskFilter(), 1, 1) == ([], 0)


def test_external_data_has_to_lie_beside_the_model_by_the_time_that_it_is_converted(call: Caller, put: Put,
                                                                                   tmp_path: Path) -> None:
    source = models.external(tmp_path)
    path = put(source.read_bytes())
    weights = (tmp_path / "weights.bin").read_bytes()
    beside = path.rpartition("/")[0] + "/weights.bin"
    assert codes(validate(call, path)) == ["external_data_missing"] and create(call, path).status == 200
    put(weights[:-1], beside)
    assert codes(validate(call, path)) == ["external_data_missing"]
    put(weights, beside)
    assert validate(call, path)["valid"]


GOOD_SET = {"a.npy": npy(1, 3, 32, 32), "b.npy": npy(3, 32, 32), "c.PNG": b"not looked into"}


@pytest.mark.parametrize(("change", "mention"), [
    ({"b.npy": npy(1, 3, 31, 32)}, "b.npy: its shape is [1, 3, 31, 32], input 'x' has [1, 3, 32, 32]"),
    ({"b.npy": b"1,2,3\n"}, "b.npy: it is no .npy file"),
    ({"b.npy": npy(1, 3, 32, 32, dtype=object)}, "b.npy: it holds Python objects, not numbers"),
    ({"b.npy": npy(1, 3, 32, 32, dtype="<U4")}, "b.npy: its type is <U4"),
    ({"b.npy": npy(1, 3, 32, 32)[:-1]}, "b.npy: it is cut off"),
    ({"d.txt": b"x"}, "d.txt is neither .npy nor an image"),
    (None, "it holds no sample"),
], ids=["shape", "text", "objects", "strings", "cut", "suffix", "nothing"])
@pytest.mark.parametrize("packed", ["zip", "prefix"])
def test_a_calibration_set_that_cannot_be_used_is_refused(call: Caller, put: Put, store: Store, packed: str,
                                                          change: dict[str, bytes] | None, mention: str) -> None:
    path, folder = put(models.convolution()), f"models/set-{os.getpid()}-{next(_number)}"
    content = GOOD_SET | change if change is not None else {".DS_Store": b"x"}
    if packed == "zip":
        put(zipped({f"set/{name}": data for name, data in content.items()}), f"{folder}.zip")
    else:
        for name, data in content.items():
            put(data, f"{folder}/{name}")
    parameters = {"precision": "int8", "calibration": f"{folder}{'.zip' if packed == 'zip' else '/'}"}
    problem, = validate(call, path, ENGLISH, parameters=parameters)["targets"][0]["problems"]
    assert (problem["code"], problem["field"]) == ("calibration_invalid", "parameters.calibration")
    assert mention in problem["message"]
    create(call, path, parameters=parameters).assert_error(400, "parameters.calibration", "calibration_invalid")
    assert store.list_page(TaskFilter(), 1, 1) == ([], 0)


def test_a_good_calibration_set_is_valid_and_a_missing_one_may_come_later(call: Caller, put: Put) -> None:
    path, folder = put(models.convolution()), f"models/good-{os.getpid()}-{next(_number)}"
    for name, data in GOOD_SET.items():
        put(data, f"{folder}/{name}")
    put(zipped(GOOD_SET), f"{folder}.zip")
    for calibration in (folder, f"{folder}.zip"):
        assert validate(call, path, parameters={"precision": "int8", "calibration": calibration})["valid"]
    later = {"precision": "int8", "calibration": f"{folder}-later"}
    assert codes(validate(call, path, parameters=later)) == ["input_not_found"]
    assert create(call, path, parameters=later).status == 200


def test_own_test_inputs_are_checked_like_a_calibration_set(call: Caller, put: Put) -> None:
    path, folder = put(models.convolution()), f"models/own-{os.getpid()}-{next(_number)}"
    put(npy(1, 3, 32, 32), f"{folder}/good/a.npy")
    put(npy(1, 3, 31, 32), f"{folder}/bad/a.npy")
    assert validate(call, path, parameters={"verify": {"inputs": f"{folder}/good/"}})["valid"]
    wrong = {"verify": {"inputs": f"{folder}/bad"}}
    problem, = validate(call, path, parameters=wrong)["targets"][0]["problems"]
    assert (problem["code"], problem["field"]) == ("test_inputs_invalid", "parameters.verify.inputs")
    assert "测试输入集" in problem["message"] and "校准" not in problem["message"] + problem["hint"]
    create(call, path, parameters=wrong).assert_error(400, "parameters.verify.inputs", "test_inputs_invalid")
    later = {"verify": {"inputs": f"{folder}/later"}}
    assert codes(validate(call, path, parameters=later)) == ["input_not_found"]
    assert create(call, path, parameters=later).status == 200


def test_a_large_model_is_validated_without_downloading_it_and_not_looked_at_by_create(
        call: Caller, alone: Caller, data_dir: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    read_range, lengths = files.read_range, [0]

    def note(path: str, start: int, length: int) -> tuple[FileInfo, bytes]:
        info, part = read_range(path, start, length)
        lengths.append(len(part))
        return info, part

    monkeypatch.setattr(files, "read_range", note)  # the functions' own, where they run here
    monkeypatch.delattr(type(files), "download")
    head = models.convolution()
    del head.opset_import[:]
    large = onnx.TensorProto(name="large", data_type=1, dims=[(1 << 30) // 4]).SerializeToString()
    raw = b"\x4a" + _varint(1 << 30)  # field 9, raw_data
    initializer = b"\x2a" + _varint(len(large) + len(raw) + (1 << 30)) + large + raw
    graph = b"\x3a" + _varint(len(initializer) + (1 << 30))
    path = f"models/large-{os.getpid()}-{next(_number)}.onnx"
    (data_dir / "buckets/models").mkdir(parents=True, exist_ok=True)
    with (data_dir / "buckets" / path).open("wb") as file:
        file.write(head.SerializeToString() + graph + initializer)
        file.seek(1 << 30, io.SEEK_CUR)
        file.write(onnx.ModelProto(opset_import=[helper.make_opsetid("", 99)]).SerializeToString())
    size = (data_dir / "buckets" / path).stat().st_size
    data = validate(call, path)
    assert sum(lengths) < 8 << 20 and (call is not alone or sum(lengths))
    assert data["model"]["size_bytes"] == size > MAX_MODEL_BYTES and data["model"]["nodes"] == 6
    assert codes(data) == ["opset_unsupported"]  # which is told at the file's very end
    assert create(call, path).status == 200


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_the_check_can_be_switched_off(alone: Caller, put: Put, store: Store,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(b"no model at all")
    create(alone, path).assert_error(400, "model_unreadable")
    monkeypatch.setenv("MODEL_CONVERT_PREFLIGHT", "false")
    close_all()
    try:
        assert create(alone, path).status == 200
    finally:
        monkeypatch.undo()
        close_all()


def test_a_check_that_takes_too_long_refuses_nothing(alone: Caller, put: Put, store: Store,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(b"no model at all")
    monkeypatch.setenv("MODEL_CONVERT_PREFLIGHT_S", "0.001")
    close_all()
    try:
        assert create(alone, path).status == 200
    finally:
        monkeypatch.undo()
        close_all()


def test_a_mended_model_is_looked_at_again(alone: Caller, put: Put, store: Store) -> None:
    path = put(b"no model at all")
    for _ in range(2):
        create(alone, path).assert_error(400, "model_unreadable")
    put(models.convolution(), path)
    assert create(alone, path).status == 200 and validate(alone, path)["valid"]


def test_validation_says_so_where_no_process_can_be_started(alone: Caller, put: Put, store: Store,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.preflight.reader.sys.executable", "/nonexistent")
    path = put(models.convolution())
    body = TARGET | {"input_path": path}
    answer = alone("validate_task", "POST", "/tasks/validate", json=body)
    answer.assert_error(503, "无法启动进程")
    assert answer.headers["Retry-After"] and create(alone, path).status == 200


def test_a_store_that_hangs_delays_a_task_by_little_and_is_told_by_validation(
        alone: Caller, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with silent_port() as port:
        monkeypatch.setenv("MODEL_CONVERT_FILES_URL", f"minio://key:secretsecret@127.0.0.1:{port}")
        monkeypatch.setenv("MODEL_CONVERT_PREFLIGHT_S", "0.5")
        monkeypatch.setenv("MODEL_CONVERT_DEPENDENCY_TIMEOUT_S", "20")
        close_all()
        try:
            path = f"models/away-{os.getpid()}-{next(_number)}.onnx"
            began = time.monotonic()
            assert create(alone, path).status == 200 and time.monotonic() - began < 10
            monkeypatch.setenv("MODEL_CONVERT_DEPENDENCY_TIMEOUT_S", str(TIMEOUT_S))
            close_all()
            began = time.monotonic()
            alone("validate_task", "POST", "/tasks/validate", json=TARGET | {"input_path": path}).assert_error(
                503, "files")
            assert time.monotonic() - began < LIMIT_S
        finally:
            monkeypatch.undo()
            close_all()


def test_an_output_over_the_models_external_data_is_a_conflict(call: Caller, put: Put, tmp_path: Path) -> None:
    source = models.external(tmp_path, "./m.bin", file="m.bin")
    path = put(source.read_bytes())
    put((tmp_path / "m.bin").read_bytes(), path.replace("m.onnx", "m.bin"))
    output = path.replace(".onnx", ".xml")
    assert codes(validate(call, path, output_path=output)) == ["output_conflict"]
    assert validate(call, path, output_path=output)["targets"][0]["problems"][0]["field"] == "output_path"
    assert create(call, path).status == 200  # what is trusted for a while now is this model at another output
    for overwrite in (False, True):
        answer = create(call, path, output_path=output, overwrite=overwrite)
        assert answer.status == 409 and "m.bin" in answer.message and "overwrite" not in answer.message
    assert codes(validate(call, path, output_path=output.replace("m.xml", "other.xml"))) == []
