"""Core stage: bring the model into the cache, with the external data files that it names.

From here on the task depends on this copy only: whoever overwrites or removes the upload meanwhile changes nothing.
"""
from __future__ import annotations

from typing import Any

from shared.errors import ConversionFailed, NotFound, PayloadTooLarge, PreconditionFailed
from shared.files import FileInfo, Files
from shared.rules.models import MODEL, check_size
from shared.rules.onnx.locations import read_locations
from shared.rules.reasons import model as models
from shared.rules.refusal import Refusal
from worker.context import CoreContext, InputChanged
from worker.stages import reasons
from worker.stages.given_digests import check_digest, read_digests
from worker.stages.transfers import Progress

_MODELS_PERCENT = 50.0  # the rest is the external data's


def versions(files: Files, parameters: dict[str, Any], companions: dict[str, str] | None = None) -> dict[str, Any]:
    """What the fetched bytes depend on: the model's ETag, and its companions' (`{location: etag}`) if they are known.
    With the digests that were given for them: then a result in the cache has been compared with these.

    Raises:
        ConversionFailed: `input_not_found`, `input_digest_mismatch`.
    """
    info = files.stat(parameters["input_path"])
    if info is None:
        raise _missing(parameters["input_path"])
    found = {"etag": info.etag, "companions": companions or {}}
    given = read_digests(files, parameters["input_path"])
    return found | {"sha256": given} if given else found


def renewed_versions(files: Files, parameters: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any] | None:
    """The model has not changed since the result with these facts was made; its companions may have.

    Raises:
        ConversionFailed: `input_not_found`.
    """
    folder = parameters["input_path"].rpartition("/")[0]
    infos = {location: files.stat(f"{folder}/{location}") for location in sorted(facts["companions"])}
    now = {location: info.etag if info else "" for location, info in infos.items()}
    return None if now == facts["companions"] else versions(files, parameters, now)


def run(context: CoreContext) -> dict[str, Any]:
    """Facts: `companions`, the external data files' locations and etags.

    Raises:
        ConversionFailed: `input_not_found`, `model_too_large`, `external_data_missing`, `input_digest_mismatch`; what
            `read_locations` refuses.
        InputChanged: what was downloaded is not what the key names.
    """
    path, files, out = context.task.input_path, context.files, context.output_dir
    left = context.settings.max_model_bytes
    progress = Progress(context.report, _check_size(path, left, files), end=_MODELS_PERCENT)
    try:
        model = files.download(path, out / MODEL, max_bytes=left, etag=context.origin["etag"], watch=progress.of(path))
    except NotFound as error:
        raise _missing(path) from error
    except PayloadTooLarge as error:
        raise _too_large(context.settings.max_model_bytes) from error
    except PreconditionFailed as error:
        raise InputChanged(reasons.WRITTEN_MEANWHILE(path=path)) from error
    _note_digest(context, path, MODEL, model)
    left -= model.size_bytes
    try:
        locations = read_locations(out / MODEL)
    except Refusal as refusal:
        raise ConversionFailed(refusal) from refusal
    folder = path.rpartition("/")[0]
    there = _check_companions(folder, locations, left, context)
    companions = {location: info.etag for location, info in there.items()}
    if context.origin["companions"] not in ({}, companions):
        raise InputChanged(reasons.COMPANION_WRITTEN(path=path))
    progress = Progress(context.report, sum(info.size_bytes for info in there.values()), begin=_MODELS_PERCENT)
    for location, etag in companions.items():
        target, source = out / location, f"{folder}/{location}"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            info = files.download(source, target, max_bytes=left, etag=etag, watch=progress.of(source))
        except NotFound as error:
            raise ConversionFailed(models.DATA_MISSING(location=location, path=source)) from error
        except PayloadTooLarge as error:
            raise _too_large(context.settings.max_model_bytes) from error
        except PreconditionFailed as error:
            raise InputChanged(reasons.COMPANION_WRITTEN(path=path)) from error
        _note_digest(context, source, location, info)
        left -= info.size_bytes
    return {"companions": companions}


def _note_digest(context: CoreContext, path: str, name: str, info: FileInfo) -> None:
    """Raises:
        ConversionFailed: `input_digest_mismatch`.
    """
    check_digest(context.origin.get("sha256", {}), path, str(info.sha256))
    context.digests[name] = str(info.sha256)


def _check_size(path: str, limit_bytes: int, files: Files) -> int:
    """The model's size, before it is copied; what grows afterwards is refused by the copying."""
    info = files.stat(path)
    if info is None:
        raise _missing(path)
    if info.size_bytes > limit_bytes:
        raise _too_large(limit_bytes)
    try:
        check_size(info.size_bytes)
    except Refusal as refusal:
        raise ConversionFailed(refusal) from refusal
    return info.size_bytes


def _check_companions(folder: str, locations: list[str], left: int, context: CoreContext) -> dict[str, FileInfo]:
    """All are there, and not too large together: before any of them is copied."""
    found: dict[str, FileInfo] = {}
    for location in locations:
        info = context.files.stat(f"{folder}/{location}")
        if info is None:
            raise ConversionFailed(models.DATA_MISSING(location=location, path=f"{folder}/{location}"))
        found[location] = info
        left -= info.size_bytes
        if left < 0:
            raise _too_large(context.settings.max_model_bytes)
    return found


def _missing(path: str) -> ConversionFailed:
    return ConversionFailed(reasons.NO_MODEL(path=path))


def _too_large(limit_bytes: int) -> ConversionFailed:
    return ConversionFailed(models.TOO_LARGE(limit_mib=limit_bytes >> 20))
