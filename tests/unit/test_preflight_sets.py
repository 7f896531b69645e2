"""A calibration set is refused before its task in the words in which the stage `calibration` would refuse it; only what
to do then differs, since there is no task yet."""
from __future__ import annotations

import io
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.preflight.archives import read_archive
from shared.preflight.arrays import parse_array
from shared.preflight.sets import check_set
from shared.rules.onnx.bounds import Incomplete
from shared.rules.refusal import Refusal
from tests import models
from tests.fixtures.preflight import Folder
from tests.fixtures.stages import Conversion
from worker.stage_api import StageError

ONE = models.convolution()
TWO = models.pair((1, 4), (1, 4))
IDS = models.embedding()


def npy(*shape: int, dtype: Any = np.float32, order: str = "C", version: tuple[int, int] | None = None) -> bytes:
    buffer, array = io.BytesIO(), np.zeros(shape, dtype, order="F" if order == "F" else "C")
    if array.dtype.kind in "fiub":
        array[..., ::2] = 1  # a set of one value alone is of no use to the stage
    np.lib.format.write_array(buffer, array, version)
    return buffer.getvalue()


def zipped(files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def inputs_of(model: onnx.ModelProto) -> list[dict[str, Any]]:
    dtypes = {1: "float", 7: "int64"}
    return [{"name": value.name, "dtype": dtypes[value.type.tensor_type.elem_type],
             "shape": [dim.dim_value for dim in value.type.tensor_type.shape.dim]} for value in model.graph.input]


def verdict(folder: Path, model: onnx.ModelProto, files: dict[str, bytes]) -> tuple[str, str] | None:
    uploaded = Folder(folder)
    for name, content in files.items():
        uploaded.put(f"set/{name}", content)
    try:
        check_set("models/set", inputs_of(model), uploaded.files, time.monotonic() + 400)
    except Refusal as problem:
        assert problem.hint
        return problem.code, problem.message
    return None


def refusal_of_the_stage(folder: Path, model: onnx.ModelProto, files: dict[str, bytes]) -> tuple[str, str] | None:
    try:
        Conversion(folder, model, precision="int8", calibration_files=files).run("calibration")
    except StageError as error:
        return error.code, error.message
    return None


A, B = npy(1, 3, 32, 32), npy(3, 32, 32)
BAD = {
    "shape": (ONE, {"a.npy": A, "b.npy": npy(1, 3, 31, 32)}), "rank": (ONE, {"a.npy": npy(32)}),
    "objects": (ONE, {"a.npy": npy(1, 3, 32, 32, dtype=object)}),
    "text array": (ONE, {"a.npy": npy(1, 3, 32, 32, dtype="<U4")}),
    "complex": (ONE, {"a.npy": npy(1, 3, 32, 32, dtype=np.complex64)}),
    "suffix": (ONE, {"a.npy": A, "labels.txt": b"x"}), "no suffix": (ONE, {"a": A}),
    "nothing": (ONE, {".DS_Store": b"x"}), "images": (TWO, {"a/1.png": b"x", "b/1.png": b"x"}),
    "floats for ids": (IDS, {"a.npy": npy(1, 6)}),
    "no folder": (TWO, {"a/1.npy": npy(1, 4), "1.npy": npy(1, 4)}),
    "lacking": (TWO, {"a/1.npy": npy(1, 4), "a/2.npy": npy(1, 4), "b/1.npy": npy(1, 4)}),
    "twice": (TWO, {"a/1.npy": npy(1, 4), "a/1.png": b"x", "b/1.npy": npy(1, 4)}),
    "climbs": (ONE, {"set.zip": zipped({"../a.npy": A})}), "absolute": (ONE, {"set.zip": zipped({"/a.npy": A})}),
    "backslash": (ONE, {"set.zip": zipped({"x\\a.npy": A})}), "no zip": (ONE, {"set.zip": b"PK\x03\x04 no zip"}),
    "bomb": (ONE, {"set.zip": zipped({"a.npy": A, "b.npy": bytes(65 << 20)})}),
    "empty zip": (ONE, {"set.zip": zipped({})}),
    "in a zip": (ONE, {"set.zip": zipped({"top/a.npy": A, "top/b.npy": npy(2, 2)})}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_set_is_refused_in_the_words_of_the_stage(tmp_path: Path, name: str) -> None:
    wanted = refusal_of_the_stage(tmp_path / "stages", *BAD[name])
    assert wanted is not None and verdict(tmp_path / "uploaded", *BAD[name]) == wanted


def test_a_set_that_is_too_large_as_arrays_is_refused_by_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a.npy": A, "b.npy": npy(3, 32, 32, dtype=np.uint8)}
    monkeypatch.setattr("shared.rules.calibration.MAX_BYTES", 2 * 3 * 32 * 32 * 4)
    assert refusal_of_the_stage(tmp_path / "two", ONE, files) is verdict(tmp_path / "also two", ONE, files) is None
    wanted = refusal_of_the_stage(tmp_path / "three", ONE, files | {"c.npy": A})
    assert wanted is not None and wanted[0] == "calibration_invalid" and "3 samples" in wanted[1]
    assert verdict(tmp_path / "also three", ONE, files | {"c.npy": A}) == wanted


@pytest.mark.parametrize(("content", "says"), [(b"1,2\n", "no .npy file"), (A[:-1], "cut off"), (A[:40], "no .npy"),
                                               (b"", "no .npy"), (b"\x93NUMPY\x09\x00" + A[8:], "version (9, 0)")])
def test_a_file_that_is_no_whole_array_is_refused_by_both(tmp_path: Path, content: bytes, says: str) -> None:
    files = {"a.npy": content}
    for refusal in (refusal_of_the_stage(tmp_path / "stages", ONE, files), verdict(tmp_path / "uploaded", ONE, files)):
        assert refusal[0] == "calibration_invalid" and "a.npy: it is" in refusal[1] and says in refusal[1]


GOOD = {
    "arrays": (ONE, {"a.npy": A, "b.npy": B, "Thumbs.db": b"x", ".hidden/c": b"x"}),
    "other numbers": (ONE, {"a.npy": npy(1, 3, 32, 32, dtype=">f8"), "b.npy": npy(3, 32, 32, dtype=np.uint8),
                            "c.npy": npy(3, 32, 32, dtype=bool), "d.npy": npy(1, 3, 32, 32, version=(2, 0))}),
    "fortran": (ONE, {"a.npy": npy(1, 3, 32, 32, order="F")}),
    "pairs": (TWO, {"a/1.npy": npy(1, 4), "b/1.npy": npy(4)}),
    "in a folder": (TWO, {"x/y/a/1.npy": npy(1, 4), "x/y/b/1.npy": npy(4)}),
    "ids": (IDS, {"a.npy": npy(1, 6, dtype=np.int32)}),
    "zip": (ONE, {"set.zip": zipped({"top/": b"", "top/a.npy": A, "top/b.npy": B, "__MACOSX/top/._a.npy": b"x"})}),
    "stored": (ONE, {"set.zip": zipped({"a.npy": A}, zipfile.ZIP_STORED)}),
    "lzma": (ONE, {"set.zip": zipped({"a.npy": A}, zipfile.ZIP_LZMA)}),
    "list": (ONE, {"dataset.txt": b"a.npy\n", "a.npy": A, "notes.md": b"x"}),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_set_is_good_to_both(tmp_path: Path, name: str) -> None:
    assert refusal_of_the_stage(tmp_path / "stages", *GOOD[name]) is None
    assert verdict(tmp_path / "uploaded", *GOOD[name]) is None


def test_of_a_set_that_is_not_there_the_path_is_told(tmp_path: Path) -> None:
    code, message = verdict(tmp_path, ONE, {})
    assert code == "input_not_found" and "models/set" in message


def test_the_set_may_be_one_object(tmp_path: Path) -> None:
    uploaded = Folder(tmp_path)
    for name, content in (("good.zip", zipped({"a.npy": A})), ("good.npy", A)):
        check_set(uploaded.put(name, content), inputs_of(ONE), uploaded.files, time.monotonic() + 400)
    with pytest.raises(Refusal, match=r"bad\.npy: its shape"):
        check_set(uploaded.put("bad.npy", npy(2)), inputs_of(ONE), uploaded.files, time.monotonic() + 400)


@settings(max_examples=200, deadline=None)
@example(b"\0" * 4, 243)  # a member without a name
@given(st.binary(max_size=300), st.integers(0, 400))
def test_random_bytes_neither_crash_nor_hang_the_readers(data: bytes, at: int) -> None:
    good = zipped({"a.npy": npy(2, 2), "b.txt": b"text"})
    for content in (data, good[:at] + data, good[:at] + data + good[at + len(data):]):
        with suppress(Incomplete):
            assert read_archive(lambda start, length, content=content: content[start:start + length], len(content))
        assert isinstance(parse_array(b"\x93NUMPY\x01\x00" + data, len(data) + 8), dict)
        assert isinstance(parse_array(content, len(content)), dict)


@pytest.mark.parametrize("header", [
    "{'descr': '<f4', 'shape': (" + "9" * 4000 + ",)}", "{'descr': '<f4', 'shape': (" + "1," * 2000 + ")}",
    "(" * 3000, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '<f" + "9" * 500 + "', 'shape': (1,)}"])
def test_an_absurd_header_gets_no_verdict_or_a_refusal(header: str) -> None:
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    began = time.process_time()
    assert isinstance(parse_array(content, len(content)), dict) and time.process_time() - began < 5
