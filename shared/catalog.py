"""The targets with the workers that serve them now."""
from __future__ import annotations

import time

from shared.answers import LiveWorker, PlatformView
from shared.deps import get_store
from shared.models import WorkerInfo, format_time
from shared.platforms import get_platforms
from shared.platforms.base import Platform

LIVE_S = 30.0  # a worker that was not seen for so long is not shown; no rule depends on it


def list_live_platforms() -> list[PlatformView]:
    since = time.time() - LIVE_S
    workers = [worker for worker in get_store().workers() if worker.seen_at >= since]
    return [_view(platform, [worker for worker in workers if platform.name in worker.platforms])
            for platform in get_platforms().values()]


def _view(platform: Platform, workers: list[WorkerInfo]) -> PlatformView:
    versions: dict[str, set[str]] = {}
    for worker in workers:
        for tool, version in worker.platforms[platform.name].items():
            versions.setdefault(tool, set()).add(version)
    return PlatformView(
        name=platform.name, title=platform.title, task_types=list(platform.task_types),
        input_suffixes=list(platform.input_suffixes), artefact_suffixes=[platform.artefact_suffix, *platform.also],
        parameters=platform.parameters.model_json_schema(),
        tools={tool: sorted(found) for tool, found in sorted(versions.items())},
        workers=[LiveWorker(id=worker.id, host=worker.host, slots=worker.slots,
                            tools=worker.platforms[platform.name], seen_at=format_time(worker.seen_at))
                 for worker in sorted(workers, key=lambda worker: worker.id)])
