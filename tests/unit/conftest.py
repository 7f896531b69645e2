"""What every test of a module has: time."""
from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child that tries patterns comes last on a busy machine; what it may compute is limited otherwise."""
    monkeypatch.setattr("shared.patterns.MAX_S", 60.0)
