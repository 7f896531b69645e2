"""A topic's subscription is confirmed: a real TLS server stands in for the maker's host, under its name."""
from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.common import missing
from tests.fixtures.storage_events import load
from tests.functions.service import Caller
from tests.functions.test_on_upload import send

HOST = "sns.eu-west-1.amazonaws.com"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:uploads"


@dataclass
class Maker:
    """Its host, as far as this process can see; what it was asked, and what it answers."""

    status: int = 200
    asked: list[str] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    if not shutil.which("openssl"):
        missing("openssl", "it is not on the PATH")
    certificate = tmp_path / "maker.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", certificate,
                    "-out", tmp_path / "public.pem", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"],
                   check=True, capture_output=True)
    certificate.write_text(certificate.read_text() + (tmp_path / "public.pem").read_text())
    maker = Maker()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            maker.asked.append(self.path)
            self.send_response(maker.status)
            self.send_header("Location", "http://127.0.0.1:1/inner")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        maker.looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", server.server_address)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public.pem"))
    yield maker
    server.shutdown()
    server.server_close()


def test_a_subscription_is_confirmed_by_a_call_of_its_url(alone: Caller, maker: Maker) -> None:
    data = send(alone, load("sns_confirmation"), **{"x-amz-sns-message-type": "SubscriptionConfirmation"}).data
    assert data["confirmed"] == [TOPIC] and data["ignored"] == []
    assert maker.asked == [f"/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=0123abcd"]


def test_a_confirmation_is_not_led_elsewhere_and_a_refusal_is_told(alone: Caller, maker: Maker) -> None:
    for status in (302, 403):
        maker.status = status
        data = send(alone, load("sns_confirmation")).data
        assert data["confirmed"] == [] and f"HTTP {status}" in data["ignored"][0]["reason"]
    assert set(maker.looked_up) == {HOST} and len(maker.asked) == 2


def test_a_topic_is_to_ask_again_while_the_makers_host_fails(alone: Caller, maker: Maker,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    maker.status = 500
    send(alone, load("sns_confirmation")).assert_error(503)
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")  # somebody else answers in its name
    maker.status = 200
    send(alone, load("sns_confirmation")).assert_error(503)
    assert len(maker.asked) == 1


def test_no_other_host_is_even_looked_up(alone: Caller, maker: Maker) -> None:
    for url in ("https://evil.example/", f"https://{HOST}@evil.example/", f"http://{HOST}/", f"https://{HOST}:8443/"):
        send(alone, load("sns_confirmation") | {"SubscribeURL": url})
    assert maker.looked_up == [] and maker.asked == []
