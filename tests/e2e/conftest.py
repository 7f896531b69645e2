"""The service in both profiles."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.models import fetch_models
from tests.e2e.services import Service


@pytest.fixture(scope="session")
def models() -> dict[str, Path]:
    return fetch_models()


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """`make_service(workers, **settings)`: a healthy service whose workers are known."""
    made: list[Service] = []

    def make(workers: int = 1, **settings: str) -> Service:
        environment = {f"MODEL_CONVERT_{name.upper()}": value for name, value in settings.items()}
        service = Service(tmp_path / f"service-{len(made)}", environment)
        made.append(service)
        service.wait(service.ready, 30)
        for _ in range(workers):
            service.start_worker()
        service.wait_for_workers()
        return service

    yield make
    for service in made:
        service.stop()


@pytest.fixture(params=["embedded", "service"])
def profile(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of each profile: embedded, and real servers."""
    if request.param == "embedded":
        return {}
    return {"store_url": request.getfixturevalue("mongo_url"), "queue_url": request.getfixturevalue("amqp_url"),
            "files_url": request.getfixturevalue("minio_url"),
            "cache_bucket": request.getfixturevalue("bucket")}  # no test takes its stages from another's cache
