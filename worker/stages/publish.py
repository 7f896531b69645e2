"""Core stage: the artefact to `output_path`, `<stem>.manifest.json` beside it.

Each write is conditional on what this claim saw there: a worker that slept through its lease cannot overwrite its
successor's result. The companions and the manifest go first, the file at `output_path` last: who sees it has it all.
"""
from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from shared.errors import ConversionFailed, PreconditionFailed
from shared.files import Condition, Files, IfAbsent, IfMatch
from shared.models import Task, format_time
from shared.platforms import get_platforms
from worker.context import CoreContext


def output_paths(task: Task) -> tuple[list[str], str]:
    """Where the artefact's files go, the one at `output_path` first, and where the manifest goes."""
    platform = get_platforms()[task.platform]
    stem = task.output_path.removesuffix(platform.artefact_suffix)
    return [task.output_path, *(stem + suffix for suffix in platform.also)], f"{stem}.manifest.json"


def run(context: CoreContext) -> dict[str, Any]:
    """Facts: the fields of the task's `result`.

    Raises:
        ConversionFailed: `output_conflict`, somebody else wrote there meanwhile.
    """
    task = context.task
    artefact, folder = context.inputs["compile"], context.input_dirs["compile"]
    paths, manifest_path = output_paths(task)
    by_suffix = {PurePosixPath(name).suffix: name for name in artefact.files}
    names = {path: by_suffix[PurePosixPath(path).suffix] for path in paths}
    manifest = context.output_dir / "manifest.json"
    manifest.write_text(json.dumps(_manifest(context, names), indent=2, ensure_ascii=False))
    beside = {manifest_path: manifest} | {path: folder / names[path] for path in paths[1:]}
    with ThreadPoolExecutor(len(beside)) as pool:  # their round trips side by side
        for done in [pool.submit(_put, context, source, path) for path, source in beside.items()]:
            done.result()
    context.report(80, "companions")
    _put(context, folder / names[task.output_path], task.output_path)
    first = artefact.files[names[task.output_path]]
    verify = context.inputs["verify"].facts
    return {"path": task.output_path, "files": paths, "sha256": first["sha256"],
            "size_bytes": sum(f["size_bytes"] for f in artefact.files.values()), "manifest_path": manifest_path,
            "toolchain": artefact.tools, "accuracy": verify}


def withdraw(files: Files, published: dict[str, str], claimed_etags: dict[str, str | None]) -> None:
    """Remove what this claim has published; not what was there before with the same content, nor what somebody else
    has put in its place.

    Raises:
        Unavailable: what is left in `published` may still be there.
    """
    for path, etag in list(published.items()):
        info = files.stat(path)
        if info is not None and info.etag == etag != claimed_etags[path]:
            files.delete(path)
            info = None
        claimed_etags[path] = info.etag if info else None
        del published[path]


def _put(context: CoreContext, source: Path, path: str) -> None:
    etag = context.published.get(path, context.claimed_etags[path])
    condition: Condition = IfAbsent() if etag is None else IfMatch(etag)
    try:
        context.published[path] = _upload_over(context, source, path, condition)
    except PreconditionFailed as error:
        raise ConversionFailed("output_conflict", f"{path} was written by somebody else while the task ran",
                               "give each task an output_path of its own, then retry") from error


def _upload_over(context: CoreContext, source: Path, path: str, condition: Condition) -> str:
    try:
        return context.files.upload(source, path, condition=condition).etag
    except PreconditionFailed:
        # Nobody but this task writes to the folder that is named after it: an earlier claim's worker woke up late.
        there = context.files.stat(path)
        own_folder = PurePosixPath(context.task.output_path).parent.name == context.task.id
        if there is None or not own_folder or not context.is_ours():
            raise
        return context.files.upload(source, path, condition=IfMatch(there.etag)).etag


def _manifest(context: CoreContext, names: dict[str, str]) -> dict[str, Any]:
    """Enough to make the artefact again by hand: inputs, parameters, and what ran with which tool."""
    task, artefact = context.task, context.inputs["compile"]
    return {
        "task_id": task.id, "task_type": task.task_type, "platform": task.platform,
        "input": {"path": task.input_path, "files": context.results["fetch"].files},
        "parameters": task.parameters,
        "artefact": [{"path": path, **artefact.files[name]} for path, name in names.items()],
        "stages": [{"name": record.name, "key": record.key, "cached": record.cached, "seconds": record.seconds,
                    "peak_memory_bytes": record.peak_memory_bytes, "tools": context.results[record.name].tools,
                    "facts": context.results[record.name].facts} for record in context.records],
        "created_at": format_time(task.created_at),
    }
