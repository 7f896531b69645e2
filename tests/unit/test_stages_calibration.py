"""calibration: what reaches a tool is plain arrays of the right shape, and whatever else was sent is told by name."""
from __future__ import annotations

import json
import os
import pickle
import struct
import time
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from shared.rules import calibration as rules
from tests.fixtures.calibration import PICTURE, Calibrated, npy, npy_header, picture, zipped
from worker.stage_api import StageError
from worker.stages import calibration, calibration_files

GOOD = {f"{number}.npy": npy(picture(number)) for number in range(3)}
TWO = [{"name": "a", "dtype": "float", "shape": [1, 4]}, {"name": "b", "dtype": "int64", "shape": [1, 2]}]


@pytest.fixture(autouse=True)
def stage_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage's working directory is its own."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def refusal(folder: Path, files: dict[str, bytes], **options: object) -> str:
    """The message of `calibration_invalid`, which tells no path of this machine."""
    with pytest.raises(StageError) as caught:
        Calibrated(folder, files, **options)
    assert caught.value.code == "calibration_invalid" and caught.value.hint
    assert str(folder) not in caught.value.message and len(caught.value.message) < 1000
    return caught.value.message


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_arrays_come_out_as_they_went_in(tmp_path):
    done = Calibrated(tmp_path, GOOD)
    assert done.facts["samples"] == [["00000_0.npy"], ["00001_0.npy"], ["00002_0.npy"]]
    for number in range(3):
        (array,) = done.arrays(number)
        assert array.dtype == np.float32 and np.array_equal(array, picture(number))
    low, high = done.facts["ranges"]["x"]
    assert low == min(picture(n).min() for n in range(3)) and high == max(picture(n).max() for n in range(3))
    assert sorted(os.listdir(done.output_dir)) == ["00000_0.npy", "00001_0.npy", "00002_0.npy"]
    assert json.loads(json.dumps(done.facts, allow_nan=False)) == done.facts


@pytest.mark.parametrize("array", [
    picture()[0], picture().astype(np.float64), picture().astype(">f4"), np.asfortranarray(picture()),
    (picture() * 255).astype(np.uint8), (picture() * 9).astype(np.int64), picture() > 0.5,
    picture().astype(np.float16)],
    ids=["no batch", "double", "big endian", "fortran", "bytes", "int64", "flags", "half"])
def test_what_holds_the_same_numbers_is_taken(tmp_path, array):
    (taken,) = Calibrated(tmp_path, {"a.npy": npy(array)}).arrays(0)
    assert taken.shape == (1, 3, 4, 6) and taken.dtype == np.float32
    assert np.array_equal(taken, array.reshape(1, 3, 4, 6).astype(np.float32))


class Payload:
    """Unpickling this creates a file."""

    def __reduce__(self):
        return open, ("executed", "w")


@pytest.mark.parametrize(("content", "says"), [
    (b"0.1 0.2 0.3\n", "no .npy file"), (b"", "no .npy file"), (b"\x93NUMPY", "no .npy file"),
    (b"\x93NUMPY\x09\x00" + b"\0" * 60, "no .npy file"), (b"PK\x03\x04" + b"\0" * 60, "no .npy file"),
    (pickle.dumps(picture()), "no .npy file"), (pickle.dumps(Payload()), "no .npy file"),
    (npy(np.array([Payload()], dtype=object)), "Python objects"),
    (npy(np.array([None, 1], dtype=object)), "Python objects"),
    (npy(np.zeros((1, 3, 4, 6), [("a", "f4")])), "its type is"), (npy(np.array(["x"])), "shape"),
    (npy(picture().astype(np.complex64)), "its type is complex64"),
    (npy(np.full((1, 3, 4, 6), "x")), "its type is <U1"),
    (npy(np.zeros((1, 3, 4, 6), "M8[s]")), "its type is datetime64"),
    (npy(picture()[:, :, :, :5]), "its shape is [1, 3, 4, 5], input 'x' has [1, 3, 4, 6]"),
    (npy(picture().transpose(0, 2, 3, 1)), "[1, 4, 6, 3]"), (npy(picture(shape=(5, 3, 4, 6))), "[5, 3, 4, 6]"),
    (npy(np.float32(1)), "its shape is []"),
    (npy(picture())[:-4], "cut off"), (npy(picture())[:100], "no .npy file"), (npy(picture())[:128], "cut off"),
    (npy(np.where(picture() > 0.9, np.nan, picture())), "NaN"), (npy(np.full((1, 3, 4, 6), -np.inf)), "NaN"),
    (npy(np.full((1, 3, 4, 6), 1e300)), "beyond its type"),
    (npy_header("'<f4'", "(1, 3, 4, 6)"), "cut off"), (npy_header("'<f4'", f"({1 << 60},)"), "its shape is"),
    (npy_header("'<f4'", "(1, 3, 4, -6)"), "shape"), (npy_header("'<f4'", "(1, 3, 4, 6.0)"), "no .npy file"),
    (npy_header("'|O'", "(1, 3, 4, 6)", pickle.dumps(Payload())), "Python objects"),
    (npy_header("[('a', '|O')]", "(1, 3, 4, 6)"), "Python objects"),
    (npy_header("'<f4'", "__import__('os').system('touch executed')"), "no .npy file"),
    (npy_header("'<f4'", "(" * 3000), "no .npy file"), (npy_header("'<f4'", "1," * 20000), "no .npy file"),
    (npy_header("'<U100000000'", "(1, 3, 4, 6)"), "its type is"),
], ids=range(34))
def test_a_file_that_is_no_such_array_is_refused_by_its_name(tmp_path, content, says):
    started = time.process_time()
    message = refusal(tmp_path, {**GOOD, "bad one.npy": content})
    assert "bad one.npy" in message and says in message
    assert not Path("executed").exists() and time.process_time() - started < 5


def test_numbers_beyond_an_integer_input_are_refused(tmp_path):
    item = {"name": "x", "dtype": "uint8", "shape": [1, 2]}
    assert "beyond uint8" in refusal(tmp_path / "1", {"a.npy": npy([[1, 256]])}, inputs=[item])
    assert "its type is float64" in refusal(tmp_path / "2", {"a.npy": npy([[1.0, 2.0]])}, inputs=[item])
    assert "beyond bool" in refusal(tmp_path / "3", {"a.npy": npy([[1, 2]])}, inputs=[item | {"dtype": "bool"}])
    (array,) = Calibrated(tmp_path / "4", {"a.npy": npy([[1, 255]])}, inputs=[item]).arrays(0)
    assert array.dtype == np.uint8 and array.tolist() == [[1, 255]]


def test_damaged_arrays_never_crash_the_stage(tmp_path):
    whole, generator = npy(picture()), np.random.default_rng(1)
    for number in range(300):
        data = bytearray(whole)
        for position in generator.integers(0, 128, generator.integers(1, 6)):
            data[position] = generator.integers(0, 256)
        path = tmp_path / "a.npy"
        path.write_bytes(data[:generator.integers(1, len(data))] if number % 3 == 0 else data)
        try:
            array = calibration_files.load_array(path, PICTURE)
        except ValueError:
            continue
        assert array.shape == (1, 3, 4, 6) and np.isfinite(array).all()


# --- which files are a sample -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("files", [{}, {".DS_Store": b"x"}, {"__MACOSX/0.npy": b"x", "a/Thumbs.db": b"x"},
                                   {"dataset.txt": b"\n\n"}, {"set.zip": zipped({})}], ids=range(5))
def test_an_empty_set_is_refused(tmp_path, files):
    assert "holds no sample" in refusal(tmp_path, files)


def test_what_a_desktop_adds_does_not_count(tmp_path):
    extra = {".DS_Store": b"x", "a/._0.npy": b"x", "__MACOSX/a/0.npy": b"x", "Thumbs.db": b"x", "Desktop.ini": b"x",
             ".hidden/0.npy": b"x"}
    assert len(Calibrated(tmp_path / "prefix", {**GOOD, **extra}).facts["samples"]) == 3
    assert len(Calibrated(tmp_path / "zip", {"s.ZIP": zipped({**GOOD, **extra}), ".DS_Store": b"x"}).facts[
        "samples"]) == 3


@pytest.mark.parametrize("name", ["notes.md", "0.npz", "0", "labels.csv", "0.npy.bak"])
def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path, name):
    assert f"{name} is neither .npy nor an image" in refusal(tmp_path, {**GOOD, name: b"x"})


def test_folders_within_the_set_do_not_matter_to_one_input(tmp_path):
    files = {"猫/图 1.npy": npy(picture(1)), "dog/a b/c.NPY": npy(picture(2)), "z.npy": npy(picture(3))}
    done = Calibrated(tmp_path, files)
    assert [float(done.arrays(index)[0][0, 0, 0, 0]) for index in range(3)] == [
        picture(seed)[0, 0, 0, 0] for seed in (2, 3, 1)]  # in the order of their names


@pytest.mark.parametrize("top", ["", "set/", "my data/set/"])
def test_inputs_are_paired_by_folder_and_name(tmp_path, top):
    files = {}
    for number in range(3):
        files[f"{top}a/sub/{number}.npy"] = npy(np.full((1, 4), number / 4))
        files[f"{top}b/sub/{number}.npy"] = npy(np.full((1, 2), number))
    for index, set_ in enumerate((files, {"set.zip": zipped(files)})):
        done = Calibrated(tmp_path / str(index), set_, inputs=TWO)
        for number in range(3):
            first, second = done.arrays(number)
            assert first.tolist() == [[number / 4] * 4] and second.tolist() == [[number] * 2]
            assert second.dtype == np.int64


def test_the_names_of_inputs_may_have_slashes_in_them(tmp_path):
    inputs = [TWO[0] | {"name": "net"}, TWO[0] | {"name": "net/x:0"}]
    done = Calibrated(tmp_path, {"net/0.npy": npy([0, 0, 0, 1]), "net/x:0/0.npy": npy([2, 2, 2, 3])}, inputs=inputs)
    assert [array.max() for array in done.arrays(0)] == [1, 3]


@pytest.mark.parametrize(("files", "says"), [
    ({"a/0.npy": b"", "a/1.npy": b"", "b/0.npy": b""}, "input 'b' has no file for the sample '1'"),
    ({"a/0.npy": b""}, "input 'b' has no file for the sample '0'"),
    ({"0.npy": b"", "1.npy": b""}, "0.npy lies in no input's folder, the model has several inputs: a, b"),
    ({"a/0.npy": b"", "b/0.npy": b"", "c/0.npy": b""}, "c/0.npy lies in no input's folder"),
    ({"a/0.npy": b"", "a/0.png": b"", "b/0.npy": b""}, "a/0.npy and a/0.png would be the same sample"),
    ({"b/.npy": b"", "ab/0.npy": b""}, "no input's folder")], ids=range(6))
def test_inputs_that_cannot_be_paired_are_told(tmp_path, files, says):
    assert says in refusal(tmp_path, files, inputs=TWO)


# --- dataset.txt ------------------------------------------------------------------------------------------------------


def test_a_list_names_the_samples_and_their_order(tmp_path):
    files = {**GOOD, "my pictures/0 1.npy": npy(picture(9)), "unlisted.md": b"not even looked at",
             "dataset.txt": b"\xef\xbb\xbf2.npy\r\n\r\n ./my pictures/0 1.npy \r\n0.npy\n2.npy"}
    done = Calibrated(tmp_path, files)
    assert [float(done.arrays(index)[0].sum()) for index in range(4)] == [
        float(picture(seed).sum()) for seed in (2, 9, 0, 2)]


def test_a_list_pairs_the_inputs(tmp_path):
    files = {"p/one.npy": npy(np.ones(4)), "p/two.npy": npy(np.full(4, 2)), "q.npy": npy([5, 6]),
             "dataset.txt": b"p/two.npy q.npy\np/one.npy\tq.npy\n"}
    done = Calibrated(tmp_path, {"set.zip": zipped({f"top/{name}": data for name, data in files.items()})}, inputs=TWO)
    assert [[array.max() for array in done.arrays(index)] for index in range(2)] == [[2, 6], [1, 6]]


@pytest.mark.parametrize(("text", "says"), [
    ("0.npy\n9.npy", "line 2 names '9.npy', which is not in the set"),
    ("/data/0.npy", "line 1 names '/data/0.npy'"), ("../calibration/0.npy", "line 1 names"), ("..", "line 1 names"),
    ("/etc/passwd", "'/etc/passwd', which is not in the set"), (".\\0.npy", "line 1 names"),
    ("\n\n0.npy 1.npy", "line 3 names 2 files, the model has 1 inputs"), ("dataset.txt", "neither .npy nor an image"),
    ("x" * 100_000, "not in the set"), ("\0", "line 1 names"), ("\udcff", "line 1 names")], ids=range(11))
def test_a_list_that_names_something_else_is_refused_with_the_line(tmp_path, text, says):
    assert says in refusal(tmp_path, {**GOOD, "dataset.txt": text.encode(errors="surrogateescape")})


def test_a_list_cannot_ask_for_more_samples_than_a_set_may_have(tmp_path):
    assert "more than 10000 samples" in refusal(tmp_path, {**GOOD, "dataset.txt": b"0.npy\n" * 10_001})


# --- zips -------------------------------------------------------------------------------------------------------------


def test_a_zip_is_the_same_set_as_a_prefix(tmp_path):
    plain, packed = (Calibrated(tmp_path / name, files) for name, files in (
        ("plain", GOOD), ("packed", {"any name.zip": zipped(GOOD)})))
    assert plain.facts == packed.facts
    assert [(plain.output_dir / name).read_bytes() == (packed.output_dir / name).read_bytes()
            for (name,) in plain.facts["samples"]] == [True] * 3


def info(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    return made


@pytest.mark.parametrize(("name", "mode"), [
    ("../0.npy", 0o100644), ("a/../../0.npy", 0o100644), ("/etc/0.npy", 0o100644), ("a\\..\\0.npy", 0o100644),
    ("a//0.npy", 0o100644), ("a/./0.npy", 0o100644), ("link.npy", 0o120777)])
def test_a_zip_that_leads_out_of_its_folder_is_refused(tmp_path, name, mode):
    message = refusal(tmp_path, {"set.zip": zipped([(info("ok.npy"), npy(picture())), (info(name, mode), b"/etc")])})
    assert "lies outside of it" in message or "is a link" in message
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"calibration-files/calibration/set.zip", "cwd/unpacked/ok.npy"}


def test_an_encrypted_zip_is_refused(tmp_path):
    data = bytearray(zipped({"0.npy": npy(picture())}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    assert "encrypted" in refusal(tmp_path, {"set.zip": bytes(data)})


@pytest.mark.parametrize("data", [b"", b"not a zip at all", zipped(GOOD)[:-30], zipped(GOOD)[:200]], ids=range(4))
def test_what_is_no_zip_is_refused(tmp_path, data):
    assert "zip cannot be used" in refusal(tmp_path, {"set.zip": data})


def test_a_member_that_does_not_fit_its_checksum_is_refused(tmp_path):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("0.npy", npy(picture()))
    data = bytearray(buffer.getvalue())
    data[200] ^= 1
    assert "CRC" in refusal(tmp_path, {"set.zip": bytes(data)})


@pytest.mark.parametrize("names", [["a", "a/0.npy"], ["a/0.npy", "a"], ["0.npy", "0.npy"], ["x" * 300 + ".npy"]],
                         ids=range(4))
def test_members_that_cannot_lie_beside_each_other_are_refused(tmp_path, names):
    refusal(tmp_path, {"set.zip": zipped([(info(name), npy(picture())) for name in names])})


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "MAX_BYTES", 4 << 20)
    bomb = {f"{number}.npy": b"\0" * (3 << 20) for number in range(3)}
    assert len(zipped(bomb)) < 20_000
    assert "GiB" in refusal(tmp_path, {"set.zip": zipped(bomb)})
    assert sum(path.stat().st_size for path in Path("unpacked").iterdir()) <= 4 << 20


def test_a_zip_that_holds_many_times_its_own_size_is_refused_before_it_fills_the_disk(tmp_path):
    bomb = zipped({f"{number}.npy": bytes(12 << 20) for number in range(9)})
    assert len(bomb) < 200_000
    assert "more than 300 times its own size" in refusal(tmp_path, {"set.zip": bomb})
    assert sum(path.stat().st_size for path in Path("unpacked").iterdir()) <= rules.FREE_BYTES


def test_a_large_zip_may_hold_more_than_a_small_one(tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "FREE_BYTES", 1000)
    assert len(Calibrated(tmp_path, {"set.zip": zipped(GOOD)}).facts["samples"]) == 3
    monkeypatch.setattr(rules, "MAX_FACTOR", 1)
    blank = {f"{number}.npy": npy(np.full((1, 3, 4, 6), number, np.float32)) for number in range(9)}
    assert "more than 1 times" in refusal(tmp_path / "blank", {"set.zip": zipped(blank)})


def test_a_bomb_that_lies_about_its_size_is_refused_too(tmp_path):
    data = bytearray(zipped({"0.npy": b"\0" * (3 << 20)}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + offset, 100)
    assert "zip cannot be used" in refusal(tmp_path, {"set.zip": bytes(data)})
    assert sum(path.stat().st_size for path in Path("unpacked").iterdir()) <= 100


def test_more_members_than_a_set_may_have_are_refused(tmp_path):
    small = npy(np.zeros((1, 1)))
    item = {"name": "x", "dtype": "float", "shape": [1, 1]}
    assert "more than 10000 files" in refusal(tmp_path, inputs=[item], files={
        "set.zip": zipped({f"{number}.npy": small for number in range(10_001)})})


def test_damaged_zips_never_crash_the_stage(tmp_path):
    whole, generator = zipped({**GOOD, "a/b.npy": npy(picture(9))}), np.random.default_rng(2)
    refused = 0
    for number in range(200):
        data = bytearray(whole)
        for position in generator.integers(0, len(data), generator.integers(1, 8)):
            data[position] = generator.integers(0, 256)
        path = tmp_path / "set.zip"
        path.write_bytes(data[:generator.integers(1, len(data))] if number % 5 == 0 else data)
        try:
            calibration_files.unpack(path, f"out-{number}")
        except StageError as error:
            refused += error.code == "calibration_invalid"
    assert refused > 50
    outside = {path.name for path in Path().iterdir()} - {f"out-{number}" for number in range(200)}
    assert not outside


# --- what is told of the set ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "samples", "held"), [
    (12, 3, [0, 4, 8]), (100, 3, [0, 33, 66]), (4, 1, [0]), (300, 64, sorted({n * 300 // 64 for n in range(64)}))])
def test_a_large_set_has_samples_that_only_the_accuracy_check_sees(tmp_path, count, samples, held):
    item = {"name": "x", "dtype": "float", "shape": [1]}
    facts = Calibrated(tmp_path, {f"{number:03}.npy": npy([number]) for number in range(count)}, inputs=[item],
                       verify={"samples": samples}).facts
    assert facts["verify"] == held
    assert facts["quantize"] == [number for number in range(count) if number not in held]


@pytest.mark.parametrize(("count", "samples", "checked"), [(11, 3, [0, 3, 7]), (2, 3, [0, 1]), (1, 64, [0])])
def test_of_a_small_set_the_quantizer_sees_all(tmp_path, count, samples, checked):
    item = {"name": "x", "dtype": "float", "shape": [1]}
    facts = Calibrated(tmp_path, {f"{number:03}.npy": npy([number]) for number in range(count)}, inputs=[item],
                       verify={"samples": samples}).facts
    assert facts["quantize"] == list(range(count)) and facts["verify"] == checked


def test_without_an_accuracy_check_nothing_is_held_back(tmp_path):
    item = {"name": "x", "dtype": "float", "shape": [1]}
    facts = Calibrated(tmp_path, {f"{number:02}.npy": npy([number]) for number in range(40)}, inputs=[item],
                       verify={"enabled": False}).facts
    assert facts["quantize"] == list(range(40))


def test_the_stage_is_a_function_of_the_sets_content(tmp_path):
    first, second = (Calibrated(tmp_path / name, files) for name, files in (
        ("1", GOOD), ("2", dict(reversed(GOOD.items())))))
    assert first.facts == second.facts
    assert calibration.read(first.entry, 1)[0].tobytes() == calibration.read(second.entry, 1)[0].tobytes()
