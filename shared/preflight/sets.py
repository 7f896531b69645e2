"""Whether a calibration set can be used, by its names and its arrays' headers; in the words of the stage
`calibration`, which reads it all."""
from __future__ import annotations

import posixpath
import re
from typing import Any

from shared.files import FileInfo, Files
from shared.preflight.limits import MAX_ARRAYS, MAX_SET_BYTES, MAX_SET_FILES, Problem
from shared.preflight.reader import read_objects

_LIST = "dataset.txt"
_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
# What desktops add to folders and zips.
_IGNORED = re.compile(r"(^|/)(\.[^/]*|__MACOSX|Thumbs\.db|desktop\.ini)(/|$)", re.IGNORECASE)
_REMOVE = "mend or remove this file"


def check_set(path: str, inputs: list[dict[str, Any]], files: Files, deadline: float) -> None:
    """`inputs` as they are of static shape: `[{name, dtype, shape}]`.

    Raises:
        Problem: `input_not_found`, `too_many_files`, `calibration_invalid`. Incomplete, Busy, Unavailable.
    """
    found = _find(path, files)
    named = {posixpath.basename(path) if info.path == path else info.path.removeprefix(path.rstrip("/") + "/"): info
             for info in found}
    names = [name for name in named if not _IGNORED.search(name)]
    if len(names) == 1 and names[0].lower().endswith(".zip"):
        content = read_objects("archive", [named[names[0]]], files, deadline)[0]
        names, headers = _members(content), content["arrays"]
    else:
        arrays = [name for name in sorted(names) if name.lower().endswith(".npy")][:MAX_ARRAYS]
        headers = dict(zip(arrays, read_objects("array", [named[name] for name in arrays], files, deadline),
                           strict=True))
    common = _common_folder(names, [item["name"] for item in inputs])
    short = {name[len(common):]: headers.get(name) for name in names}
    if _LIST in short:
        return  # which files are samples, it alone tells
    owners = _owners(sorted(short), inputs)
    for name, item in owners.items():
        _check_file(name, short[name], item)


def _find(path: str, files: Files) -> list[FileInfo]:
    if found := files.stat(path):
        return [found]
    below: list[FileInfo] = []
    for info in files.list(path.rstrip("/") + "/"):
        if info.path.endswith("/"):  # some tools store an empty object for a folder
            continue
        if len(below) == MAX_SET_FILES:
            raise Problem("too_many_files", f"more than {MAX_SET_FILES} objects lie below {path}",
                          f"parameters.calibration takes {MAX_SET_FILES} at most; a zip holds them in one")
        below.append(info)
    if not below:
        raise Problem("input_not_found", f"parameters.calibration: no object {path}, and none below it",
                      "upload it first")
    return below


def _members(content: dict[str, Any]) -> list[str]:
    if "error" in content:
        raise _bad_zip(content["error"])
    names: dict[str, int] = {}
    for name, size, is_link in content["members"]:
        if name != posixpath.normpath(name) or name.startswith(("/", "..")) or "\\" in name:
            raise _bad_zip(f"its member {name!r} lies outside of it")
        if _IGNORED.search(name):
            continue
        if is_link:
            raise _bad_zip(f"its member {name!r} is a link")
        if name in names:
            raise _bad_zip(f"it holds {name!r} twice")
        names[name] = size
    if len(names) > MAX_SET_FILES or sum(names.values()) > MAX_SET_BYTES:
        raise _bad_zip(f"it holds more than {MAX_SET_FILES} files or {MAX_SET_BYTES >> 30} GiB")
    return list(names)


def _bad_zip(what: str) -> Problem:
    return Problem("calibration_invalid", "the calibration set's zip cannot be used: " + what,
                   "make it anew, with .npy arrays or images")


def _invalid(what: str, hint: str) -> Problem:
    return Problem("calibration_invalid", "the calibration set cannot be used: " + what, hint)


def _common_folder(names: list[str], inputs: list[str]) -> str:
    """The folders that all of them lie in: who zips a folder has it in every name."""
    common = ""
    while names:
        top = common + names[0][len(common):].partition("/")[0] + "/"
        if not all(name.startswith(top) for name in names) or any(
                (item + "/").startswith(top[len(common):]) for item in inputs):
            break
        common = top
    return common


def _owners(names: list[str], inputs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The input of each file."""
    if not names:
        raise _invalid("it holds no sample", "a zip or a prefix with .npy arrays or images, 100 or so")
    if len(inputs) == 1:
        return dict.fromkeys(names, inputs[0])
    found, samples = {}, {item["name"]: {} for item in inputs}
    for name in names:
        owner = max((item for item in inputs if name.startswith(item["name"] + "/")),
                    key=lambda item: len(item["name"]), default=None)
        if owner is None:
            raise _invalid(f"{name} lies in no input's folder, the model has several inputs: {', '.join(samples)}",
                           f"put each input's files into a folder of its name, or list the samples in {_LIST}")
        key = posixpath.splitext(name[len(owner["name"]) + 1:])[0]
        if key in samples[owner["name"]]:
            raise _invalid(f"{samples[owner['name']][key]} and {name} would be the same sample",
                           "remove one of them")
        samples[owner["name"]][key] = name
        found[name] = owner
    keys = set().union(*samples.values())
    for item, of_input in samples.items():
        lacking = sorted(keys - set(of_input))
        if lacking:
            raise _invalid(f"input {item!r} has no file for the sample {lacking[0]!r}",
                           "files of one sample have the same name in each input's folder")
    return found


def _check_file(name: str, header: dict[str, Any] | None, item: dict[str, Any]) -> None:
    """`header` is None for what is no array, and for arrays beyond those that were looked at."""
    suffix = posixpath.splitext(name)[1].lower()
    if suffix in _IMAGES:
        if problem := _image_problem(item):
            raise _invalid(f"{name}: {problem}", _REMOVE)
    elif suffix != ".npy":
        raise _invalid(f"{name} is neither .npy nor an image ({', '.join(sorted(_IMAGES))})", "remove it from the set")
    elif header and (problem := _array_problem(header, item)):
        raise _invalid(f"{name}: {problem}", _REMOVE)


def _image_problem(item: dict[str, Any]) -> str:
    shape, dtype = item["shape"], _numpy_name(item["dtype"])
    if len(shape) != 4 or shape[0] != 1 or not {shape[1], shape[3]} & {1, 3, 4}:
        return f"input {item['name']!r} of shape {shape} takes no image; send .npy"
    if not dtype.startswith("float") and dtype != "uint8":
        return f"input {item['name']!r} of type {dtype} takes no image; send .npy"
    return ""


def _array_problem(header: dict[str, Any], item: dict[str, Any]) -> str:
    if "error" in header:
        return header["error"]
    kind, shape, wanted, wanted_dtype = header["kind"], header["shape"], item["shape"], _numpy_name(item["dtype"])
    if kind == "O":
        return "it holds Python objects, not numbers"
    if shape != wanted and not (wanted[:1] == [1] and shape == wanted[1:]):
        return f"its shape is {shape}, input {item['name']!r} has {wanted}"
    if kind not in "fiub" or (kind == "f" and not wanted_dtype.startswith("float")):
        return f"its type is {header['dtype']}, input {item['name']!r} has {wanted_dtype}"
    return f"it is cut off: {header['missing_bytes']} bytes are missing" if header["missing_bytes"] else ""


def _numpy_name(dtype: str) -> str:
    return {"float": "float32", "double": "float64"}.get(dtype, dtype)
