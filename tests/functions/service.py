"""The two ways to reach an HTTP function in tests: alone under functions-framework, and through the served gateway."""
from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flask.testing
import functions_framework
import requests

from infra.gateway import FUNCTIONS_DIR
from infra.servers.base import Server, free_port, spawn, wait_until

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return self.json["message"]

    @property
    def data(self) -> Any:
        assert self.status == 200, self.body.decode()
        return self.json["data"]

    def assert_error(self, status: int, *mentions: str) -> None:
        """The contract's error form, its fields in the contract's order, and a message that mentions all of this."""
        text = self.body.decode()
        assert self.status == status, text
        assert self.headers["Content-Type"] == "application/json; charset=utf-8"
        assert list(self.json) == ["success", "message", "data"], text
        assert self.json["success"] is False and self.json["data"] is None
        assert all(mention in self.message for mention in mentions), (self.message, mentions)
        assert len(self.message) < 1200 and self.message.isprintable()
        assert "Traceback" not in text and "/shared/" not in text


# name of the function, method, path, then json= or data=, and headers=
Caller = Callable[..., Answer]


def function_client(name: str) -> flask.testing.FlaskClient:
    """As if functions-framework served it on loopback."""
    client = functions_framework.create_app(name, str(FUNCTIONS_DIR / name / "main.py")).test_client()
    client.environ_base["SERVER_SOFTWARE"] = "Werkzeug/test"
    return client


def call_alone(clients: dict[str, flask.testing.FlaskClient]) -> Caller:
    def call(name: str, method: str, path: str, **request: Any) -> Answer:
        if name not in clients:
            clients[name] = function_client(name)
        with clients[name].open(path, method=method, **request) as response:  # a server closes what it has sent
            return Answer(response.status_code, response.headers, response.get_data())

    return call


def call_over_http(base_url: str) -> Caller:
    def call(name: str, method: str, path: str, **request: Any) -> Answer:
        response = requests.request(method, base_url + path, timeout=TIMEOUT_S, **request)
        return Answer(response.status_code, response.headers, response.content)

    return call


def serve_gateway(folder: Path, env: dict[str, str], *options: str) -> Server:
    """`python -m infra.gateway` on a free port, answering when this returns."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = folder / "gateway.log"
    process = spawn([sys.executable, "-m", "infra.gateway", "--port", str(port), *options], log, env)

    def ready() -> bool:
        try:
            return requests.get(f"{url}/openapi.json", timeout=TIMEOUT_S).status_code == 200
        except (requests.ConnectionError, requests.Timeout):  # a busy machine's first answer may take long
            return False

    wait_until(ready, process, "the gateway", log)
    return Server("gateway", url, "uvicorn", process)
