"""Whether a calibration set can be used, by its names and its arrays' headers; in the words of the stage
`calibration`, which reads it all."""
from __future__ import annotations

import posixpath
from typing import Any

from shared.files import FileInfo, Files
from shared.files.named import find_named
from shared.preflight.limits import MAX_ARRAYS
from shared.preflight.reader import read_objects
from shared.rules import calibration as rules
from shared.rules.bilingual import Bilingual
from shared.rules.reasons import calibration as reasons


def check_set(path: str, inputs: list[dict[str, Any]], files: Files, deadline: float,
              parameter: str = "calibration") -> None:
    """`inputs` as they are of static shape: `[{name, dtype, shape}]`; `parameter` is the one that names the set.

    Raises:
        Refusal: `input_not_found`, `too_many_files`, `calibration_invalid`. Incomplete, Busy, Unavailable.
    """
    found = _find(path, files, parameter)
    named = {posixpath.basename(path) if info.path == path else info.path.removeprefix(path + "/"): info
             for info in found}
    names = rules.kept(named)
    if len(names) == 1 and names[0].lower().endswith(".zip"):
        content = read_objects("archive", [named[names[0]]], files, deadline)[0]
        names, headers = _members(content, named[names[0]].size_bytes), content["arrays"]
    else:
        arrays = [name for name in sorted(names) if name.lower().endswith(".npy")][:MAX_ARRAYS]
        headers = dict(zip(arrays, read_objects("array", [named[name] for name in arrays], files, deadline),
                           strict=True))
    common = rules.common_folder(names, [item["name"] for item in inputs])
    short = {name[len(common):]: headers.get(name) for name in names}
    if rules.LIST in short:
        return  # which files are samples, it alone tells
    samples = rules.group(sorted(short), [item["name"] for item in inputs])
    rules.check_total(len(samples), inputs)
    for sample in samples:
        for name, item in zip(sample, inputs, strict=True):
            _check_file(name, short[name], item)


def _find(path: str, files: Files, parameter: str) -> list[FileInfo]:
    found = find_named(files, path, rules.MAX_FILES)
    if not found:
        raise reasons.NO_OBJECT_YET(path=path, parameter=parameter)
    if len(found) > rules.MAX_FILES:
        raise reasons.TOO_MANY_OBJECTS(path=path, limit=rules.MAX_FILES, parameter=parameter)
    return found


def _members(content: dict[str, Any], zip_bytes: int) -> list[str]:
    if "error" in content:
        raise rules.bad_zip(content["error"])
    members = rules.Members(zip_bytes)
    return [name for name, size, is_link in content["members"] if members.take(name, size, is_link)]


def _check_file(name: str, header: dict[str, Any] | None, item: dict[str, Any]) -> None:
    """`header` is None for what is no array, and for arrays beyond those that were looked at."""
    suffix = rules.suffix(name)
    if suffix in rules.IMAGES:
        problem = rules.image_problem(item)
    elif suffix == ".npy":
        problem = _array_problem(header, item) if header else None
    else:
        raise rules.neither(name)
    if problem:
        raise rules.bad_file(name, problem)


def _array_problem(header: dict[str, Any], item: dict[str, Any]) -> Bilingual | None:
    if "error" in header:
        return Bilingual(*header["error"])
    problem = rules.array_problem(header["kind"], header["dtype"], header["shape"], item)
    if problem or not header["missing_bytes"]:
        return problem
    return reasons.CUT_OFF(said=reasons.BYTES_MISSING(count=header["missing_bytes"]))
