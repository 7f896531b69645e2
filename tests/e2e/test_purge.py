"""A client can have everything gone that the service knows of a model: in both profiles, with the real toolchain."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shared.settings import Settings
from tests import models
from tests.fixtures.services import Service


def test_a_purged_task_leaves_nothing_and_another_tasks_results_stay(
        make_service: Callable[..., Service], profile: dict[str, str], tmp_path: Path) -> None:
    service = make_service(workers=1, **profile)
    bucket = profile.get("cache_bucket", Settings().cache_bucket)
    task_ids = []
    for number, model in enumerate((models.convolution(), models.pair((1, 4), (1, 4)))):
        source = tmp_path / "model"
        source.write_bytes(model.SerializeToString())
        service.files().upload(source, f"models/purge-{number}.onnx")
        task_ids.append(service.convert(f"models/purge-{number}.onnx"))
    purged, kept = service.finish(task_ids)
    assert purged["status"] == kept["status"] == "completed", (purged, kept)

    def stored(*below: str) -> set[str]:
        return {info.path for prefix in below for info in service.files().find(f"{bucket}/{prefix}")}

    before = stored("stages/", "blobs/", "logs/")
    assert len(before) > 10
    body = {"task_ids": [purged["id"]], "purge": True}
    assert service.client.call("POST", "/tasks/batch-delete", body)["success_count"] == 1
    service.wait(lambda: len(stored("stages/")) == len(kept["stages"]) - 1)  # publish has no result in the cache
    assert stored("stages/", "blobs/", "logs/") < before
    assert list(service.files().find(f"results/{purged['id']}/")) == []
    body["task_ids"] = [kept["id"]]
    assert service.client.call("POST", "/tasks/batch-delete", body)["success_count"] == 1
    service.wait(lambda: not stored("stages/", "blobs/", "logs/"))
    service.wait(lambda: not list((service.data_dir / "stages").glob("??/*")))
