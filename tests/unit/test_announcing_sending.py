"""One attempt against a receiver that is up, down, slow, sly or broken: a stand-in for a client's own."""
from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any, get_args

import pytest
from standardwebhooks.webhooks import Webhook

from shared.announcements import sending
from shared.announcements.outcomes import PROBLEMS, Outcome, Problem
from shared.announcements.sending import ANSWER_BYTES, send
from shared.announcements.signing import signed_headers
from shared.settings import Settings, read_settings
from tests.fixtures.receiver_standin import (
    Answer,
    ReceiverStandIn,
    Talk,
    endless,
    make_certificate,
    raw,
    silent,
    status,
)
from tests.integration.worker_kit import wait_until

SECRET = f"whsec_{base64.b64encode(b's' * 32).decode()}"
BODY = '{"type":"task.completed","data":{"labels":{"行":"检测"}}}'.encode()
NAME, PUBLIC = "receiver.example", "93.184.216.34"
SHORT_S = 0.5  # for receivers that never come to an end: whatever has no limit waits for ever in these tests

Start = Callable[..., ReceiverStandIn]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[ReceiverStandIn] = []

    def begin(*answers: Answer, **options: Any) -> ReceiverStandIn:
        started.append(ReceiverStandIn(*answers, **options))
        return started[-1]

    yield begin
    for receiver in started:
        receiver.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), f"DNS:{NAME},IP:127.0.0.1")


def allowing(*places: str) -> Settings:
    return read_settings({"MODEL_CONVERT_CALLBACK_SECRET": SECRET, "MODEL_CONVERT_CALLBACK_ALLOW": ",".join(places)})


def deliver(receiver: ReceiverStandIn, url: str = "", **options: Any) -> Outcome:
    settings = allowing(receiver.place)
    return send(url or receiver.url, BODY, signed_headers("msg_1_2", BODY, settings), settings, **options)


def test_a_receiver_gets_what_the_public_library_verifies(start: Start) -> None:
    receiver = start(status(200))
    assert deliver(receiver) == Outcome(None, 200)
    (received,) = receiver.received
    assert (received.method, received.path, received.body) == ("POST", "/hooks/models?key=a%20b", BODY)
    assert Webhook(SECRET).verify(received.body, received.headers)["data"]["labels"] == {"行": "检测"}
    assert received.id == "msg_1_2" and received.headers["host"] == receiver.place
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("model-convert/")
    assert "whsec" not in str(received)


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_delivery(start: Start, code: int) -> None:
    assert deliver(start(status(code))) == Outcome(None, code)


@pytest.mark.parametrize("code", [400, 401, 404, 409, 429, 500, 502, 503])
def test_another_status_is_told(start: Start, code: int) -> None:
    assert deliver(start(status(code))) == Outcome("status", code)


def test_a_receiver_that_wants_no_more_is_heard(start: Start) -> None:
    assert deliver(start(status(410))) == Outcome("gone", 410)


@pytest.mark.parametrize("code", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(start: Start, code: int) -> None:
    inner = start(status(200))
    receiver = start(status(code, Location=inner.url))
    assert deliver(receiver) == Outcome("redirect", code)
    assert len(receiver.received) == 1 and inner.received == []


@pytest.mark.parametrize(("said", "least", "most"), [
    ("120", 120, 120), ("0", 0, 0), (3600, 3000, 3600), (-3600, 0, 0), ("999999999", 999999999, 999999999)])
def test_what_a_receiver_asks_to_wait_is_told(start: Start, said: str | int, least: float, most: float) -> None:
    """A number is a date, so many seconds from now."""
    said = formatdate(time.time() + said, usegmt=True) if isinstance(said, int) else said
    outcome = deliver(start(status(503, Retry_After=said)))
    assert (outcome.problem, outcome.status) == ("status", 503) and least <= outcome.retry_after_s <= most


@pytest.mark.parametrize("said", ["soon", "-1", "1e9", "9" * 400, "1.5", "Fri, 99 Nov 2026 00:00:00 GMT"])
def test_what_cannot_be_read_of_it_is_passed_over(start: Start, said: str) -> None:
    assert deliver(start(status(503, Retry_After=said))) == Outcome("status", 503, None)


def test_a_receiver_that_is_down_is_told_and_gets_it_once_it_is_up(start: Start) -> None:
    receiver = start(status(200))
    receiver.stop()
    assert deliver(receiver) == Outcome("connect")
    receiver.start()
    assert deliver(receiver) == Outcome(None, 200)


def first_talk(receiver: ReceiverStandIn) -> Talk:
    """A connection may be made some time before the receiver hears of it."""
    wait_until(lambda: receiver.talks)
    return receiver.talks[0]


# --- receivers that are slow ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [
    endless(b"", b"H", 0.02), endless(b"HTTP/1.1 200 OK\r\nA: ", b"b", 0.02),
    endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", 0.02)], ids=["status line", "header", "headers"])
def test_a_receiver_that_drips_its_answer_does_not_get_more_time_by_it(start: Start, answer: Answer) -> None:
    receiver = start(answer)
    assert deliver(receiver, limit_s=SHORT_S) == Outcome("timeout")
    assert first_talk(receiver).is_cut.wait(60)


def test_a_receiver_that_says_nothing_is_left(start: Start) -> None:
    until = threading.Event()
    assert deliver(start(silent(until)), limit_s=SHORT_S) == Outcome("timeout")
    until.set()


def test_a_receiver_that_takes_nothing_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it accepts nobody, and reads nothing
        settings = allowing(f"127.0.0.1:{listener.getsockname()[1]}")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert send(url, b"x" * (64 << 20), {}, settings, limit_s=SHORT_S) == Outcome("timeout")
        assert send(url.replace("http", "https"), BODY, {}, settings, limit_s=SHORT_S) == Outcome("timeout")


def test_a_resolver_that_says_nothing_is_left(start: Start) -> None:
    until = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        until.wait(60)
        return ["127.0.0.1"]

    assert deliver(start(), limit_s=SHORT_S, resolve=resolve) == Outcome("timeout")
    until.set()


def test_once_the_status_is_there_a_slow_rest_changes_nothing(start: Start) -> None:
    receiver = start(endless(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x", 0.02))
    assert deliver(receiver, limit_s=4 * SHORT_S) == Outcome(None, 200)
    assert first_talk(receiver).is_cut.wait(60)


# --- answers that are too large, or none ------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "outcome"), [
    (b"HTTP/1.1 200 OK\r\n\r\n", Outcome(None, 200)),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", Outcome(None, 200)),
    (b"HTTP/1.1 500 No\r\n\r\n", Outcome("status", 500))])
def test_of_a_large_answer_only_the_beginning_is_read(start: Start, first: bytes, outcome: Outcome) -> None:
    receiver = start(endless(first, b"x" * 4096))
    assert deliver(receiver, limit_s=60) == outcome
    assert first_talk(receiver).is_cut.wait(60)
    # What the system's buffers hold on both sides comes to it.
    assert first_talk(receiver).sent_bytes < ANSWER_BYTES + (16 << 20)


@pytest.mark.parametrize("answer", [
    endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"), endless(b"HTTP/1.1 200 OK\r\nA: ", b"b" * 1024),
    endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), endless(b"", b"x" * 1024)],
    ids=["headers", "header", "go on", "line"])
def test_a_head_that_never_ends_is_no_answer(start: Start, answer: Answer) -> None:
    receiver = start(answer)
    assert deliver(receiver, limit_s=60) == Outcome("answer")
    assert first_talk(receiver).sent_bytes < ANSWER_BYTES + (16 << 20)


@pytest.mark.parametrize("said", [b"220 mail.example ESMTP\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n",
                                  b"\x00\xff\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n"])
def test_what_speaks_no_http_is_told(start: Start, said: bytes) -> None:
    assert deliver(start(raw(said))) == Outcome("answer")


def test_a_receiver_that_hangs_up_is_told(start: Start) -> None:
    assert deliver(start(raw(b""))) == Outcome("connect")


# --- TLS --------------------------------------------------------------------------------------------------------------


def at_home(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def deliver_to_name(receiver: ReceiverStandIn, name: str = NAME, **options: Any) -> Outcome:
    settings = allowing(f"{name}:{receiver.port}")
    return send(f"https://{name}:{receiver.port}/hook", BODY, signed_headers("msg_1_2", BODY, settings), settings,
                **{"resolve": at_home} | options)


def test_the_certificate_has_to_be_the_names_and_not_the_addresss(
        start: Start, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    receiver = start(status(200), certificate=certificate[0])
    assert deliver_to_name(receiver) == Outcome(None, 200)
    assert receiver.names == [NAME] and receiver.received[0].headers["host"] == f"{NAME}:{receiver.port}"
    assert deliver_to_name(receiver, "other.example") == Outcome("tls")
    assert len(receiver.received) == 1


def test_the_authorities_are_not_read_for_each_attempt(
        start: Start, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read, context = [], ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda: read.append(1) or context())
    receiver = start(status(200), certificate=certificate[0])
    for trusted, outcome in (("none.pem", Outcome("tls")), (str(certificate[1]), Outcome(None, 200))):
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        assert [deliver_to_name(receiver) for _ in range(5)] == [outcome] * 5
    assert 2 <= len(read) <= 4  # a period may end meanwhile


def test_of_an_address_in_the_url_the_certificate_has_to_name_the_address(
        start: Start, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    assert deliver(start(status(200), certificate=certificate[0])) == Outcome(None, 200)
    both, public = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    assert deliver(start(status(200), certificate=both)) == Outcome("tls")


def test_a_certificate_that_nobody_trusts_is_refused(start: Start, certificate: tuple[Path, Path]) -> None:
    receiver = start(status(200), certificate=certificate[0])
    assert deliver_to_name(receiver) == Outcome("tls")
    assert receiver.received == []


def test_a_receiver_without_tls_behind_https_is_told(start: Start) -> None:
    receiver = start(raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert deliver(receiver, receiver.url.replace("http", "https")).problem in ("tls", "connect")
    assert receiver.received == []


# --- where it goes ----------------------------------------------------------------------------------------------------


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was connected to. The public address leads to the loopback here, as far as this process can see."""
    there: list[tuple[str, int]] = []
    connect = socket.create_connection

    def note(address: tuple[str, int], *arguments: Any, **options: Any) -> socket.socket:
        there.append(address)
        return connect(("127.0.0.1", address[1]) if address[0] == PUBLIC else address, *arguments, **options)

    monkeypatch.setattr(sending.socket, "create_connection", note)
    return there


class Rebinding:
    """Resolves to a public address at the first look-up, and to the loopback at all later ones."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, host: str, _port: int) -> list[str]:
        self.asked.append(host)
        return [PUBLIC] if len(self.asked) == 1 else ["127.0.0.1"]


def test_a_name_that_leads_home_at_the_second_look_up_never_leads_there(
        start: Start, certificate: tuple[Path, Path], dialled: list[tuple[str, int]],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    receiver, resolve, settings = start(status(200), certificate=certificate[0]), Rebinding(), allowing()
    url = f"https://{NAME}:{receiver.port}/hook"
    # One look-up for one attempt, and what was checked is what is connected to.
    assert send(url, BODY, {}, settings, resolve=resolve) == Outcome(None, 200)
    assert resolve.asked == [NAME] and dialled == [(PUBLIC, receiver.port)]
    # The next attempt looks it up anew, and goes nowhere.
    assert send(url, BODY, {}, settings, resolve=resolve) == Outcome("address")
    assert len(resolve.asked) == 2 and len(dialled) == 1 and len(receiver.received) == 1


@pytest.mark.parametrize("addresses", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::ffff:93.184.216.34"], [PUBLIC, "::1"]])
def test_nothing_is_connected_to_if_one_address_is_refused(
        start: Start, dialled: list[tuple[str, int]], addresses: list[str]) -> None:
    receiver = start(status(200))
    assert send(f"https://{NAME}:{receiver.port}/", BODY, {}, allowing(), resolve=lambda *_: addresses) == Outcome(
        "address")
    assert dialled == [] and receiver.received == []


def test_a_url_that_is_allowed_no_more_leads_nowhere(start: Start, dialled: list[tuple[str, int]]) -> None:
    receiver = start(status(200))
    for url in (receiver.url, f"http://{NAME}:{receiver.port}/", f"https://me@{NAME}/", "nothing"):
        assert send(url, BODY, {}, allowing(), resolve=lambda *_: [PUBLIC]) == Outcome("address")
    assert dialled == [] and receiver.received == []


def test_the_next_address_is_tried_if_one_does_not_answer(start: Start) -> None:
    receiver = start(status(200))
    settings = allowing("127.0.0.0/8", "::1")
    assert send(f"http://{NAME}:{receiver.port}/", BODY, {}, settings,
                resolve=lambda *_: ["::1", "127.0.0.9", "127.0.0.1"]) == Outcome(None, 200)


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "unknown"), UnicodeError("too long")])
def test_a_name_that_is_not_found_is_told(error: Exception) -> None:
    def resolve(_host: str, _port: int) -> list[str]:
        raise error

    assert send(f"https://{NAME}/", BODY, {}, allowing(), resolve=resolve) == Outcome("name")


def test_no_proxy_of_the_environment_is_used(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, receiver = start(status(200)), start(status(200))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://{proxy.place}")
        monkeypatch.setenv(name.upper(), f"http://{proxy.place}")
    assert deliver(receiver) == Outcome(None, 200)
    assert len(receiver.received) == 1 and proxy.received == []


def test_each_problem_has_its_words() -> None:
    assert list(get_args(Problem)) == list(PROBLEMS)
