"""Core stage: the artefact to `output_path`; `.manifest.json`, `.report.json` and `.report.html` after its name.

The writes are those of `worker.publication`. The file at `output_path` goes last: a client that sees that one can have
all of them.
"""
from __future__ import annotations

import hashlib
import json
from typing import Any

from shared.errors import ConversionFailed
from shared.files import FileInfo
from shared.outputs import (
    MANIFEST,
    REPORT,
    REPORT_PAGE,
    artefact_suffixes,
    overwritten_input,
    paths_beside,
    published_names,
)
from shared.rules.reasons import model as models
from worker.context import CoreContext
from worker.manifest import make_manifest
from worker.report import make_report, render
from worker.stages import reasons
from worker.stages.transfers import Progress


def run(context: CoreContext) -> dict[str, Any]:
    """Facts: the fields of the task's `result`. The first of the stage's inputs is the artefact's stage; there is an
    accuracy where there is a `verify`.

    Raises:
        ConversionFailed: `artefact_missing`, the stage before left no file of the kind that the target declares;
            `output_conflict`, a result would be written over an object that the task has read, or as
            `worker.publication.Publication.put_all` says.
        Damaged: the artefact is not what was compiled.
    """
    artefact_stage = next(iter(context.inputs))
    artefact, folder = context.inputs[artefact_stage], context.input_dirs[artefact_stage]
    beside = paths_beside(context.task)
    names = published_names(context.task, artefact.files)
    if context.task.output_path not in names:
        raise ConversionFailed(reasons.NO_ARTEFACT(stage=artefact_stage, suffix=artefact_suffixes(context.task)[0],
                                                   files=", ".join(artefact.files) or reasons.NO_FILE))
    if taken := overwritten_input(context.task, _companions(context)):
        raise ConversionFailed(models.OUTPUT_OVER_INPUT(path=taken))
    report = make_report(context, artefact, names)
    contents = {MANIFEST: json.dumps(make_manifest(context, artefact, names), indent=2, ensure_ascii=False),
                REPORT: report.model_dump_json(indent=2), REPORT_PAGE: render(report)}
    uploads = {path: folder / name for path, name in names.items()}
    for suffix, text in contents.items():
        uploads[beside[suffix]] = context.output_dir / suffix.lstrip(".")
        uploads[beside[suffix]].write_text(text, encoding="utf-8")
    digests = {path: artefact.files[name]["sha256"] for path, name in names.items()}
    digests |= {beside[suffix]: hashlib.sha256(text.encode()).hexdigest() for suffix, text in contents.items()}
    progress = Progress(context.report, sum(file.stat().st_size for file in uploads.values()))
    context.publication.put_all(uploads, digests, progress.note)
    verify = context.inputs.get("verify")
    return {"path": context.task.output_path, "files": list(names), "sha256": report.artefact[0].sha256,
            "size_bytes": sum(file.size_bytes for file in report.artefact), "manifest_path": beside[MANIFEST],
            "report_path": beside[REPORT], "report_page_path": beside[REPORT_PAGE], "toolchain": artefact.tools,
            "accuracy": verify.facts if verify else None,
            "attempts": context.attempts and [row.model_dump(mode="json") for row in context.attempts],
            "published": [_published(context.publication.written(path), sha256) for path, sha256 in digests.items()]}


def _published(info: FileInfo, sha256: str) -> dict[str, Any]:
    return {"path": info.path, "size_bytes": info.size_bytes, "sha256": sha256, "etag": info.etag}


def _companions(context: CoreContext) -> list[str]:
    """The paths of the model's external data."""
    folder = context.task.input_path.rpartition("/")[0]
    return [f"{folder}/{location}" for location in context.results["fetch"].facts["companions"]]
