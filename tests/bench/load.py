"""A load generator: `python -m tests.bench.load JSON`, a process of its own that costs little.

It keeps connections open and one request under way on each; requests are bytes made beforehand, and of an answer only
the status and the length are read. Its own share of a core is told with the result, so that a figure that shows the
generator instead of the server is recognised.
"""
from __future__ import annotations

import json
import re
import select
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    """What to send. `path` and `body` are the same in each request; with a body it is a POST of JSON."""

    port: int
    path: str
    body: str | None = None
    connections: int = 16
    warm_s: float = 0.5
    seconds: float = 3.0

    def request(self) -> bytes:
        head = f"{'GET' if self.body is None else 'POST'} {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        body = (self.body or "").encode()
        if self.body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body


@dataclass(frozen=True)
class LoadResult:
    """`cpu_share` is the generator's own use of one core."""

    requests_per_s: float
    cpu_share: float


def run_load(load: Load) -> LoadResult:
    """Generate the load from a new process.

    Raises:
        RuntimeError: an answer was not 200, or a connection was closed.
    """
    done = subprocess.run([sys.executable, "-m", "tests.bench.load", json.dumps(asdict(load))], capture_output=True,
                          text=True, timeout=load.warm_s + load.seconds + 60)
    if done.returncode:
        raise RuntimeError(f"{load.path}: {done.stderr[-1500:]}")
    return LoadResult(**json.loads(done.stdout))


def generate(load: Load) -> LoadResult:
    request = load.request()
    poll = select.epoll()
    connections: dict[int, socket.socket] = {}
    received: dict[int, bytes] = {}
    for _ in range(load.connections):
        connection = socket.create_connection(("127.0.0.1", load.port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[connection.fileno()] = connection
        received[connection.fileno()] = b""
        poll.register(connection, select.EPOLLIN)
        connection.sendall(request)
    now = time.perf_counter()
    begin, end = now + load.warm_s, now + load.warm_s + load.seconds
    count, begun, cpu_begun = 0, 0.0, 0.0
    while now < end:
        for number, _ in poll.poll(0.1):
            received[number] += _receive(connections[number])
            if is_whole(received[number]):
                count += 1
                received[number] = b""
                connections[number].sendall(request)
        now = time.perf_counter()
        if not begun and now >= begin:
            count, begun, cpu_begun = 0, now, time.process_time()
    return LoadResult(count / (now - begun), (time.process_time() - cpu_begun) / (now - begun))


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 16)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data


def is_whole(data: bytes) -> bool:
    """Whether `data` is a whole answer.

    Raises:
        ValueError: its status is not 200, or it has no length.
    """
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return False
    length = LENGTH.search(head)
    if not head.startswith(b"HTTP/1.1 200 ") or length is None:
        raise ValueError(data.decode(errors="replace")[:1000])
    return len(body) >= int(length[1])


if __name__ == "__main__":
    print(json.dumps(asdict(generate(Load(**json.loads(sys.argv[1]))))))
