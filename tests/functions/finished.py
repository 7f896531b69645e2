"""Completed tasks with their objects, as a worker leaves them."""
from __future__ import annotations

import hashlib
from pathlib import Path

from shared.documents import Published, Task, TaskResult, new_task_id
from shared.files import Files
from shared.marks import Mark, write_mark
from shared.settings import get_settings
from shared.task_logs import log_path

CONTENTS = {"det.xml": b"<net/>" * 100, "det.bin": bytes(range(256)) * 3000, "det.xml.manifest.json": b'{"a": 1}',
            "det.xml.report.json": b'{"b": 2}', "det.xml.report.html": "<h1>报告</h1>".encode()}
LOG = b"compiling\n"


def finished_task(files: Files, source: Path, contents: dict[str, bytes | Path], *, folder: str = "",
                  older: bool = False) -> Task:
    """A task whose five objects and one log lie in the object store; it is to be inserted yet. `source` is a file to
    upload from. The document of an `older` version does not tell of the objects."""
    task_id = new_task_id()
    paths = [f"{folder or f'results/{task_id}'}/{name}" for name in contents]
    published = []
    for path, content in zip(paths, contents.values(), strict=True):
        if isinstance(content, bytes):
            source.write_bytes(content)
        origin = source if isinstance(content, bytes) else content
        info = files.upload(origin, path, mark=write_mark(Mark(task_id, 1, "intel"), path))
        with origin.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        published.append(Published(path=path, size_bytes=info.size_bytes, sha256=digest, etag=info.etag))
    source.write_bytes(LOG)
    files.upload(source, log_path(get_settings(), task_id, "compile"))
    result = TaskResult(
        path=paths[0], files=paths[:2], sha256=published[0].sha256, size_bytes=1, manifest_path=paths[2],
        report_path=paths[3], report_page_path=paths[4], published=None if older else published)
    return Task.model_validate({
        "id": task_id, "platform": "intel", "task_type": "onnx_to_openvino", "status": "completed", "epoch": 1,
        "input_path": "models/det.onnx", "output_path": paths[0], "stage": "publish", "queue_order": 0.0,
        "created_at": 1704110000.0, "updated_at": 1704110400.0, "finished_at": 1704110400.0, "result": result})
