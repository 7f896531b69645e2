"""Fixtures that every suite may use; the real servers are in tests/fixtures."""
from __future__ import annotations

pytest_plugins = ["tests.fixtures.mongo", "tests.fixtures.rabbitmq", "tests.fixtures.minio", "tests.fixtures.services"]
