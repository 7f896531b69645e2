"""The run that each test makes its fault in, on either profile; after the test all of it must be in order."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults import checks
from tests.faults.proxy import Proxy
from tests.faults.run import Run
from tests.fixtures.rabbitmq import PrivateBroker

ProxyBefore = Callable[[str], tuple[Proxy, str]]


@pytest.fixture
def embedded(tmp_path: Path) -> dict[str, Any]:
    """The settings of the embedded profile: those of `make_settings`."""
    return {}


@pytest.fixture
def service(mongo_url: str, minio_url: str, bucket: str, private_broker: PrivateBroker) -> dict[str, Any]:
    """The settings of the service profile: real servers, with a place of the test's own in each."""
    return {"store_url": mongo_url, "files_url": minio_url, "queue_url": private_broker.url,
            "cache_bucket": bucket, "results_bucket": f"{bucket}-results"}


@pytest.fixture(params=["embedded", "service"])
def profile(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.getfixturevalue(request.param)


@pytest.fixture
def proxy_before() -> Iterator[ProxyBefore]:
    """`proxy_before(url)`: a line to that server, and the URL that leads through it. It outlasts the run."""
    made: list[Proxy] = []

    def before(url: str) -> tuple[Proxy, str]:
        proxy, through = Proxy.before(url)
        made.append(proxy)
        return proxy, through

    yield before
    for proxy in made:
        proxy.close()


@contextmanager
def brought_to_rest(run: Run) -> Iterator[Run]:
    """A run without processes yet. In the end its tasks come to rest, its processes stop, and all is checked."""
    yield run
    try:
        checks.wait_at_rest(run)
        if run.killed:
            run.start_worker()  # which clears up after the dead
    finally:
        run.stop()
    checks.check_all(run)


@pytest.fixture
def run(tmp_path: Path, profile: dict[str, Any], proxy_before: ProxyBefore) -> Iterator[Run]:
    with brought_to_rest(Run(tmp_path / "run", profile)) as run:
        yield run


@pytest.fixture
def service_run(tmp_path: Path, service: dict[str, Any], proxy_before: ProxyBefore) -> Iterator[Run]:
    with brought_to_rest(Run(tmp_path / "run", service)) as run:
        yield run
