"""A TCP line between a client and its server that does what lines do at their worst."""
from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

CHUNK_BYTES = 1 << 16


class Verdict(Enum):
    """What becomes of a chunk on its way to the server."""

    PASS = auto()
    SWALLOW = auto()  # a black hole: the connection stays
    LOSE_ANSWER = auto()  # it arrives; the connection is cut where the answer comes
    CUT = auto()  # it does not arrive, and the connection is cut
    SPOIL = auto()  # it arrives with another last byte


Judge = Callable[[bytes], Verdict | bytes]


def pass_all(_: bytes) -> Verdict:
    return Verdict.PASS


class Way:
    """One direction: how many bytes have passed, and after how many more the connection is cut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.passed = self.cuts_left = self._every = self._next_cut = 0

    def cut_after(self, size_bytes: int, times: int) -> None:
        """So many times the connection that carries it breaks, each time after so many bytes more."""
        with self._lock:
            self._every, self._next_cut, self.cuts_left = size_bytes, self.passed + size_bytes, times

    def pass_on(self, chunk: bytes) -> bool:
        """Whether the connection stays after this chunk."""
        with self._lock:
            self.passed += len(chunk)
            if not self.cuts_left or self.passed < self._next_cut:
                return True
            self.cuts_left -= 1
            self._next_cut = self.passed + self._every
            return False


class Proxy:
    """Listens on `port` of loopback, and forwards to `target_port`.

    `judge` is asked for each chunk that a client sends; where it gives bytes, they are the answer and the end of the
    connection, and the server hears nothing.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._away = self._closed = False
        self.judge: Judge = pass_all
        self.requests, self.answers = Way(), Way()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @classmethod
    def before(cls, url: str) -> tuple[Proxy, str]:
        """A line to the server that a URL names, and the URL that leads through it."""
        port = re.search(r"127\.0\.0\.1:(\d+)", url).group(1)
        proxy = cls(int(port))
        return proxy, url.replace(f"127.0.0.1:{port}", f"127.0.0.1:{proxy.port}")

    def cut(self) -> None:
        """Break every connection and refuse new ones, until `heal`."""
        self._away = True
        self._break_all()

    def heal(self) -> None:
        self._away, self.judge = False, pass_all

    def close(self) -> None:
        self._closed = True
        self._shut(self._listener)
        self._break_all()

    def lose_answers(self, marker: bytes, times: int) -> Callable[[], int]:
        """The next `times` requests with `marker` take place without their client learning it; a function that tells
        how many are still to come."""
        left = times

        def judge(chunk: bytes) -> Verdict:
            nonlocal left
            if left and marker in chunk:
                left -= 1
                return Verdict.LOSE_ANSWER
            return Verdict.PASS

        self.judge = judge
        return lambda: left

    def _break_all(self) -> None:
        with self._lock:
            sockets = list(self._sockets)
        for end in sockets:
            self._shut(end)

    @staticmethod
    def _shut(end: socket.socket) -> None:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._away:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets |= {client, server}
            loses_answer = threading.Event()
            for forward in (self._forward_requests, self._forward_answers):
                threading.Thread(target=self._carry, args=(forward, client, server, loses_answer), daemon=True).start()

    def _carry(self, forward: Callable[..., None], client: socket.socket, server: socket.socket,
               loses_answer: threading.Event) -> None:
        with suppress(OSError):
            forward(client, server, loses_answer)
        for end in (client, server):
            self._shut(end)
            with self._lock:
                self._sockets.discard(end)

    def _forward_requests(self, client: socket.socket, server: socket.socket, loses_answer: threading.Event) -> None:
        while chunk := client.recv(CHUNK_BYTES):
            verdict = self.judge(chunk)
            if isinstance(verdict, bytes):
                return client.sendall(verdict)
            if verdict is Verdict.CUT:
                return None
            if verdict is Verdict.LOSE_ANSWER:
                loses_answer.set()
            if verdict is Verdict.SPOIL:
                chunk = chunk[:-1] + bytes([chunk[-1] ^ 1])
            if verdict is not Verdict.SWALLOW:
                server.sendall(chunk)
            if not self.requests.pass_on(chunk):
                return None
        return None

    def _forward_answers(self, client: socket.socket, server: socket.socket, loses_answer: threading.Event) -> None:
        while (chunk := server.recv(CHUNK_BYTES)) and not loses_answer.is_set():
            client.sendall(chunk)
            if not self.answers.pass_on(chunk):
                return
