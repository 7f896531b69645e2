"""The other side of a status request: functions-framework's own hello world."""
from __future__ import annotations

import flask


def hello(request: flask.Request) -> str:
    return "Hello World!\n"
