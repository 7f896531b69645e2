"""Core stage: the artefact to `output_path`; `<stem>.manifest.json`, `.report.json` and `.report.html` beside it.

Each write is conditional on what this claim saw there; or, where the folder is the task's own, on this being the newest
claim. So a worker that slept through its lease cannot overwrite its successor's result. What lies beside goes first,
the file at `output_path` last: who sees it has it all.
"""
from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shared.errors import ConversionFailed, PreconditionFailed
from shared.files import Condition, Files, IfAbsent, IfMatch
from shared.outputs import MANIFEST, REPORT, REPORT_PAGE, artefact_suffixes, own_folder, paths_beside, published_names
from worker.context import CoreContext
from worker.manifest import make_manifest
from worker.report import make_report, render
from worker.stages import reasons


def run(context: CoreContext) -> dict[str, Any]:
    """Facts: the fields of the task's `result`. The first of the stage's inputs is the artefact's stage; there is an
    accuracy where there is a `verify`.

    Raises:
        ConversionFailed: `output_conflict`, somebody else wrote there meanwhile; `artefact_missing`, the stage before
            left no file of the kind that the target declares.
    """
    artefact_stage = next(iter(context.inputs))
    artefact, folder = context.inputs[artefact_stage], context.input_dirs[artefact_stage]
    beside = paths_beside(context.task)
    names = published_names(context.task, artefact.files)
    if context.task.output_path not in names:
        raise ConversionFailed(reasons.NO_ARTEFACT(stage=artefact_stage, suffix=artefact_suffixes(context.task)[0],
                                                   files=", ".join(artefact.files) or reasons.NO_FILE))
    report = make_report(context, artefact, names)
    contents = {MANIFEST: json.dumps(make_manifest(context, artefact, names), indent=2, ensure_ascii=False),
                REPORT: report.model_dump_json(indent=2), REPORT_PAGE: render(report)}
    uploads = {path: folder / name for path, name in names.items()}
    for suffix, text in contents.items():
        uploads[beside[suffix]] = context.output_dir / suffix.lstrip(".")
        uploads[beside[suffix]].write_text(text, encoding="utf-8")
    first = uploads.pop(context.task.output_path)
    with ThreadPoolExecutor(len(uploads)) as pool:  # their round trips side by side
        for done in [pool.submit(_put, context, source, path) for path, source in uploads.items()]:
            done.result()
    context.report(80, "companions")
    _put(context, first, context.task.output_path)
    verify = context.inputs.get("verify")
    return {"path": context.task.output_path, "files": list(names), "sha256": report.artefact[0].sha256,
            "size_bytes": sum(file.size_bytes for file in report.artefact), "manifest_path": beside[MANIFEST],
            "report_path": beside[REPORT], "report_page_path": beside[REPORT_PAGE], "toolchain": artefact.tools,
            "accuracy": verify.facts if verify else None}


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
        raise ConversionFailed(reasons.OUTPUT_CONFLICT(path=path)) from error


def _upload_over(context: CoreContext, source: Path, path: str, condition: Condition) -> str:
    try:
        return context.files.upload(source, path, condition=condition).etag
    except PreconditionFailed:
        # In the task's own folder: an earlier claim's, whose worker may be slow. The look comes before the question, so
        # that what a later claim writes after it stays.
        there = context.files.stat(path)
        if own_folder(context.task) is None or not context.is_ours():
            raise
        return context.files.upload(source, path, condition=IfMatch(there.etag) if there else IfAbsent()).etag
