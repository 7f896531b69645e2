"""Core stage: bring the objects that parameters name (a calibration set, a tool's configuration) into the cache.

A parameter names an object, or everything below a prefix. An object lies at `PARAMETER/its file name`, what a prefix
holds at `PARAMETER/its name below the prefix`.
"""
from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

from shared.errors import ConversionFailed, NotFound, PayloadTooLarge, PreconditionFailed
from shared.files import FileInfo, Files
from shared.files.named import find_named
from shared.rules.calibration import MAX_FILES
from shared.rules.reasons import calibration as objects
from worker.context import CoreContext, InputChanged
from worker.stages import reasons

_AT_ONCE = 8  # downloads of small files are round trips
_MAX_PART_BYTES = 255  # the longest name of a file


def versions(files: Files, parameters: dict[str, Any]) -> dict[str, dict[str, str]]:
    """`{parameter: {path: etag}}` of the objects that the parameters name; what these stages' keys are made of.

    Raises:
        ConversionFailed: `input_not_found`, `too_many_files`, `object_name_invalid`.
    """
    return {name: {info.path: info.etag for info in _find(files, name, path)}
            for name, path in parameters.items() if path is not None}


def run(context: CoreContext) -> dict[str, Any]:
    """Facts: `{parameter: [names of its files, relative to PARAMETER/]}`.

    Raises:
        ConversionFailed: `input_not_found`, `input_too_large`.
        InputChanged: what was downloaded is not what the key names.
    """
    wanted = [(parameter, path, etag, _name_below(path, context.parameters[parameter]))
              for parameter, etags in context.origin.items() for path, etag in etags.items()]
    facts: dict[str, list[str]] = {parameter: [] for parameter in context.origin}
    left = context.settings.max_model_bytes
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(wanted), _AT_ONCE):
            batch = wanted[start:start + _AT_ONCE]
            for download in [pool.submit(_download, context, left, *item) for item in batch]:
                left -= download.result()
            if left < 0:
                raise _too_large(batch[-1][0], context.settings.max_model_bytes)
            for parameter, _, _, name in batch:
                facts[parameter].append(name)
            context.report(100 * (start + len(batch)) / len(wanted), batch[-1][3])
    return facts


def _download(context: CoreContext, max_bytes: int, parameter: str, path: str, etag: str, name: str) -> int:
    """The object's size."""
    target = context.output_dir / parameter / name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        info = context.files.download(path, target, max_bytes=max_bytes, etag=etag)
    except NotFound as error:
        raise InputChanged(reasons.REMOVED_MEANWHILE(path=path)) from error
    except PayloadTooLarge as error:
        raise _too_large(parameter, context.settings.max_model_bytes) from error
    except PreconditionFailed as error:
        raise InputChanged(reasons.WRITTEN_MEANWHILE(path=path)) from error
    context.digests[f"{parameter}/{name}"] = str(info.sha256)
    return info.size_bytes


def _too_large(parameter: str, limit_bytes: int) -> ConversionFailed:
    return ConversionFailed(reasons.FILES_TOO_LARGE(parameter=parameter, limit_mib=limit_bytes >> 20))


def _find(files: Files, parameter: str, path: str) -> list[FileInfo]:
    found = find_named(files, path, MAX_FILES)
    if not found:
        raise ConversionFailed(objects.NO_OBJECT(path=path, parameter=parameter))
    if len(found) > MAX_FILES:
        raise ConversionFailed(objects.TOO_MANY_OBJECTS(path=path, limit=MAX_FILES, parameter=parameter))
    _check_names([_name_below(info.path, path) for info in found], parameter)
    return found


def _check_names(names: list[str], parameter: str) -> None:
    """Object stores take names that no folder can hold, or that would lead out of one.

    Raises:
        ConversionFailed: `object_name_invalid`.
    """
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    for name in names:
        if name in folders or not _is_plain(name):
            raise ConversionFailed(reasons.NAME_INVALID(parameter=parameter, name=name))


def _is_plain(name: str) -> bool:
    try:
        lengths = [len(part.encode()) for part in name.split("/")]
    except UnicodeEncodeError:  # a file's name that is no UTF-8
        return False
    return (not {"", ".", ".."} & {*name.split("/")} and max(lengths) <= _MAX_PART_BYTES
            and not any(unicodedata.category(char) == "Cc" for char in name))


def _name_below(path: str, named: str) -> str:
    return PurePosixPath(path).name if path == named else path.removeprefix(named + "/")
