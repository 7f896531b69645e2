"""Fixtures that every suite may use; the real servers are in tests/fixtures."""
from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import coverage
import pytest

pytest_plugins = ["tests.fixtures.mongo", "tests.fixtures.rabbitmq", "tests.fixtures.minio", "tests.fixtures.services"]

# Suites of whole processes: the suites of single pieces reach the same lines.
UNMEASURED = {"e2e", "faults", "chaos", "protocol"}
CONFIG = "COVERAGE_PROCESS_CONFIG"  # child processes measure themselves where it is set


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test that is `unmeasured`, with its processes, runs without coverage: tracing would take most of its time."""
    measured = coverage.Coverage.current()
    suite = item.nodeid.split("/")[1]
    if measured is None or not (suite in UNMEASURED or item.get_closest_marker("unmeasured")):
        return (yield)
    measured.stop()
    config = os.environ.pop(CONFIG)
    try:
        return (yield)
    finally:
        os.environ[CONFIG] = config
        measured.start()


@pytest.fixture(autouse=True)
def _root_level() -> Iterator[None]:
    """A toolchain that runs inside the test's process may raise the root logger's level, as openvino does. The tests
    after it would find no warning in `caplog`."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
